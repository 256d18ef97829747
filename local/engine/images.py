"""Images of the stand-in: pulled from the local ECR by digest, every byte checked, unpacked into a folder.

An image is one manifest, one config and its layers; all are kept by digest under the state folder. A reference on
the short list of placeholders (public base images that cannot be reached offline) is an empty image: its command
runs with the machine's own Python.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from local.engine.registry import DOCKER_MANIFEST, OCI_MANIFEST, Registry, RegistryError, digest_of, verified

LOCAL_REGISTRY = re.compile(
    r"^(localhost(:\d+)?|127\.\d+\.\d+\.\d+(:\d+)?|\d{12}\.dkr\.ecr\.[a-z0-9-]+\.(amazonaws\.com|localhost[.a-z]*)(:\d+)?)$"
)
Pull = Callable[[Registry, str, str], None]  # repository, digest
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"


class NoSuchImage(Exception):
    """The image is not here and cannot be had; the message says why."""


@dataclass(frozen=True)
class Reference:
    """`<registry>/<repository>:<tag>` or `<registry>/<repository>@sha256:…`."""

    registry: str
    repository: str
    version: str

    def __str__(self) -> str:
        sign = "@" if self.version.startswith("sha256:") else ":"
        return "/".join(part for part in (self.registry, self.repository) if part) + sign + self.version


@dataclass(frozen=True)
class Image:
    id: str
    digest: str | None  # of the manifest; a placeholder has none, because nothing was pulled
    repository: str
    config: Mapping[str, Any]
    layers: tuple[str, ...]

    @property
    def settings(self) -> Mapping[str, Any]:
        """What a container inherits: Cmd, Env, ExposedPorts, WorkingDir …"""
        settings: Mapping[str, Any] = self.config.get("config") or {}
        return settings


def parse(text: str) -> Reference:
    name, _, digest = text.partition("@")
    head, _, rest = name.partition("/")
    registry, path = (head, rest) if rest and ("." in head or ":" in head or head == "localhost") else ("", name)
    repository, _, tag = path.partition(":")
    return Reference(registry, repository, digest or tag or "latest")


class Images:
    def __init__(
        self, folder: Path, connect: Callable[[], Registry], placeholders: list[str], pull: Pull | None = None
    ) -> None:
        """With `pull` the layers are left to a real engine, which has them checked and unpacked by itself."""
        self._blobs = folder / "blobs" / "sha256"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._connect = connect
        self._pull = pull
        self._known = {str(parse(text)): placeholder(parse(text)) for text in placeholders}

    def get(self, text: str) -> Image:
        """An image that was pulled before, by reference or by id."""
        for reference, image in list(self._known.items()):
            if text in (reference, image.id, image.digest) or str(parse(text)) == reference:
                return image
        raise NoSuchImage(f"No such image: {text}")

    def tag(self, image: Image, reference: Reference) -> None:
        self._known[str(reference)] = image

    def resolve(self, text: str) -> tuple[str, bytes]:
        """Digest and bytes of the manifest that the registry has under this reference."""
        reference = parse(text)
        if not LOCAL_REGISTRY.match(reference.registry):
            raise NoSuchImage(
                f"{text} cannot be pulled: no public registry is reachable from the local cloud. "
                "Push the image to the local ECR and name that."
            )
        try:
            return self._connect().manifest(reference.repository, reference.version)
        except RegistryError as fault:
            raise NoSuchImage(f"{text} cannot be pulled. {fault}") from fault

    def pull(self, text: str) -> Image:
        """Fetch what is missing, check all of it, and know the image by this reference."""
        reference = parse(text)
        known = self._known.get(str(reference))
        if known and known.digest is None:
            return known
        digest, raw = self.resolve(text)
        try:
            image = self._complete(reference.repository, digest, json.loads(raw))
        except RegistryError as fault:
            raise NoSuchImage(f"{text} cannot be pulled. {fault}") from fault
        self._known[str(reference)] = image
        return image

    def unpack(self, image: Image, folder: Path) -> None:
        """Lay the image's layers over each other in `folder`, removals included."""
        folder.mkdir(parents=True)
        for digest in image.layers:
            try:
                content = verified(self._path(digest).read_bytes(), digest, "a stored layer")
            except RegistryError as fault:
                raise NoSuchImage(str(fault)) from fault
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:*") as layer:
                lay(layer, folder)

    def _complete(self, repository: str, digest: str, manifest: Mapping[str, Any]) -> Image:
        if manifest.get("mediaType", OCI_MANIFEST) not in (OCI_MANIFEST, DOCKER_MANIFEST) or "layers" not in manifest:
            raise RegistryError("It is an index of several images; push one single-platform image.")
        registry = self._connect()
        config = json.loads(self._fetch(registry, repository, manifest["config"]["digest"]))
        layers = tuple(layer["digest"] for layer in manifest["layers"])
        if self._pull:
            self._pull(registry, repository, digest)
            return Image(manifest["config"]["digest"], digest, repository, config, layers)
        for layer, content_digest in zip(layers, config["rootfs"]["diff_ids"], strict=True):
            content = self._fetch(registry, repository, layer)
            plain = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
            verified(plain, content_digest, "the content of a layer")
        return Image(manifest["config"]["digest"], digest, repository, config, layers)

    def _fetch(self, registry: Registry, repository: str, digest: str) -> bytes:
        path = self._path(digest)
        if path.exists() and digest_of(stored := path.read_bytes()) == digest:
            return stored
        content = registry.blob(repository, digest)
        # Two tasks may pull at once: a blob is under its name only when it is whole.
        part = path.with_suffix(f".{id(content)}.part")
        part.write_bytes(content)
        part.replace(path)
        return content

    def _path(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")


def placeholder(reference: Reference) -> Image:
    config: dict[str, Any] = {"config": {}, "rootfs": {"type": "layers", "diff_ids": []}, "placeholder": str(reference)}
    return Image(digest_of(json.dumps(config).encode()), None, reference.repository, config, ())


def lay(layer: tarfile.TarFile, folder: Path) -> None:
    """Put one layer over what is there. A `.wh.<name>` takes <name> away, `.wh..wh..opq` empties its folder."""
    members = layer.getmembers()
    # A layer's removals speak of the layers below it, so they come before its own files.
    for member in members:
        path = PurePosixPath(member.name)
        if path.name == OPAQUE:
            for below in inside(folder, path.parent).glob("*"):
                remove(below)
        elif path.name.startswith(WHITEOUT):
            remove(inside(folder, path.parent) / path.name.removeprefix(WHITEOUT))
    for member in members:
        if PurePosixPath(member.name).name.startswith(WHITEOUT):
            continue
        target = folder / member.name
        if target.is_symlink() or (target.exists() and target.is_dir() != member.isdir()):
            remove(target)
        try:
            layer.extract(member, folder, filter="data")
        except tarfile.FilterError as fault:
            raise NoSuchImage(f"Refused a layer: {fault}.") from fault


def inside(folder: Path, path: PurePosixPath) -> Path:
    found = (folder / path).resolve()
    if not found.is_relative_to(folder.resolve()):
        raise NoSuchImage(f"Refused a layer: {path} leads out of the image.")
    return found


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
