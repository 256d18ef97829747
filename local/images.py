"""Build and push the inference image where no container engine is installed.

What is pushed is a real image (config, one layer, manifest), made of the files that the Dockerfile's last stage
copies: `inference/`, `serve` and `VERSION` under /app. Its dependencies are not in it: it runs on the packages of the
virtual environment, and its label says so. The same files give the same digest.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.engine.environment import architecture
from local.engine.registry import DOCKER_MANIFEST, RegistryError, connect, digest_of

CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
APP = "app"
LEFT_OUT = ("__pycache__",)
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


class PushRefused(Exception):
    """The image cannot be built or was not taken; the message says why and what to do."""


@dataclass(frozen=True)
class File:
    body: bytes
    runs: bool = False


@dataclass(frozen=True)
class Built:
    manifest: bytes
    config: bytes
    layer: bytes

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


def must_be_a_tag(tag: str) -> None:
    """Raises PushRefused for what no registry takes, so that nothing is built in vain."""
    if not TAG.fullmatch(tag):
        raise PushRefused(
            f"{tag!r} cannot be a tag: it has at most 128 letters, digits, '_', '.' and '-', "
            "and begins with none of the last two. For example: make push TAG=v2"
        )


def push(
    folder: Path,
    repository: str,
    tag: str,
    *,
    image_version: str,
    endpoint: str | None = None,
    region: str | None = None,
) -> str:
    """Build the inference image from `folder` and push it to the local ECR; return its digest."""
    return publish(build(folder, image_version=image_version), repository, tag, endpoint=endpoint, region=region)


def publish(image: Built, repository: str, tag: str, *, endpoint: str | None = None, region: str | None = None) -> str:
    """Push to the local ECR; return the digest.

    `repository` is a name, or a URI as ECR gives it. Endpoint, region and keys are the SDK's usual ones unless given.
    """
    name = repository.partition("/")[2] if "." in repository.partition("/")[0] else repository
    try:
        registry = connect(endpoint, region)
        registry.put_blob(name, image.layer)
        registry.put_blob(name, image.config)
        recorded = registry.put_manifest(name, tag, image.manifest, DOCKER_MANIFEST)
    except RegistryError as fault:
        advice = " Tags cannot be moved: push under a new one." if "immutable" in str(fault) else ""
        raise PushRefused(f"{name}:{tag} was not pushed. {fault}{advice}") from fault
    if recorded != image.digest:
        raise PushRefused(f"{name}:{tag} was pushed as {image.digest}, but the registry recorded {recorded}.")
    return recorded


def build(folder: Path, *, image_version: str) -> Built:
    """The inference image's three parts, without pushing them."""
    program, package = folder / "serve", folder / "inference"
    for part in (program, package):
        if not part.exists():
            raise PushRefused(f"{part} is missing. {folder} must hold `serve` and the package `inference`.")
    files = {
        f"{APP}/serve": File(program.read_bytes(), runs=True),
        f"{APP}/VERSION": File(f"{image_version}\n".encode()),
    }
    for path in package.rglob("*"):
        if path.is_file() and not any(part in LEFT_OUT for part in path.parts):
            files[f"{APP}/{path.relative_to(folder).as_posix()}"] = File(path.read_bytes())
    config = {
        "User": "10001:10001",
        "Env": ["PATH=/app:/usr/local/bin:/usr/bin:/bin", "PYTHONUNBUFFERED=1"],
        "WorkingDir": f"/{APP}",
        "Cmd": ["serve"],
        "ExposedPorts": {"8080/tcp": {}},
        "Labels": {
            "org.opencontainers.image.title": "tidegate-inference",
            "org.opencontainers.image.version": image_version,
            "tidegate.dependencies": "of the virtual environment that runs it; built without an engine",
        },
    }
    return assemble(files, config, f"inference image {image_version}")


def assemble(files: Mapping[str, File], config: Mapping[str, Any], comment: str) -> Built:
    """Config, one layer and manifest, of files by their place in the image."""
    plain = layer_of(files)
    layer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=layer, mtime=0) as packed:
        packed.write(plain)
    whole = canonical(
        {
            "architecture": architecture(),
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [digest_of(plain)]},
            "history": [{"created_by": "local.images", "comment": comment}],
        }
    )
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": CONFIG_TYPE, "size": len(whole), "digest": digest_of(whole)},
            "layers": [{"mediaType": LAYER_TYPE, "size": len(layer.getvalue()), "digest": digest_of(layer.getvalue())}],
        }
    )
    return Built(manifest, whole, layer.getvalue())


def layer_of(files: Mapping[str, File]) -> bytes:
    """A tar: sorted, owned by root, without times, so that only the files decide its digest."""
    folders = {str(parent) for name in files for parent in list(Path(name).parents)[:-1]}
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(set(files) | folders):
            member = tarfile.TarInfo(name)
            if name in folders:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            else:
                file = files[name]
                member.size, member.mode = len(file.body), 0o755 if file.runs else 0o644
                tar.addfile(member, io.BytesIO(file.body))
    return content.getvalue()


def canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
