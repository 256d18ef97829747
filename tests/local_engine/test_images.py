"""Images: built the same from the same files, pushed for real, checked and unpacked as a container engine does."""

from __future__ import annotations

import gzip
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import boto3
import pytest

from local.engine.images import Images, NoSuchImage, Reference, lay, parse
from local.engine.registry import Registry, digest_of
from local.images import Built, PushRefused, build, push
from tests.local_engine.conftest import Cloud
from tests.local_engine.helpers import REGION, image_folder

DIGEST = "sha256:" + "a" * 64


def tar(*entries: tuple[str, str | None]) -> tarfile.TarFile:
    """A layer in memory: files with their content, folders with None."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as writing:
        for name, text in entries:
            member = tarfile.TarInfo(name)
            if text is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                writing.addfile(member)
            else:
                member.size = len(text)
                writing.addfile(member, io.BytesIO(text.encode()))
    content.seek(0)
    return tarfile.open(fileobj=content)


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


Serve = Callable[[dict[str, bytes]], Registry]


@pytest.fixture
def registry_with() -> Iterator[Serve]:
    """A registry that answers each path with the given bytes, right or wrong."""
    started: list[http.server.ThreadingHTTPServer] = []

    def serve(content: dict[str, bytes]) -> Registry:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802 (the name is the library's)
                body = content.get(self.path.partition("?")[0])
                self.send_response(200 if body is not None else 404)
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                del format, args

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return Registry(f"http://127.0.0.1:{server.server_port}", "registry", "token")

    yield serve
    for server in started:
        server.shutdown()
        server.server_close()


def paths(image: Built) -> dict[str, bytes]:
    blobs = {f"/v2/inference/blobs/{digest_of(blob)}": blob for blob in (image.config, image.layer)}
    return {**blobs, f"/v2/inference/manifests/{image.digest}": image.manifest}


@pytest.mark.parametrize("text, expected", [
    (f"localhost:4566/inference@{DIGEST}", Reference("localhost:4566", "inference", DIGEST)),
    ("000000000000.dkr.ecr.eu-west-1.amazonaws.com/a/b:v7",
     Reference("000000000000.dkr.ecr.eu-west-1.amazonaws.com", "a/b", "v7")),
    ("python", Reference("", "python", "latest")),
])  # fmt: skip
def test_a_reference_is_read_as_engines_read_it(text: str, expected: Reference) -> None:
    assert parse(text) == expected
    assert parse(str(expected)) == expected


def test_the_same_files_give_the_same_digest_wherever_and_whenever(tmp_path: Path) -> None:
    one, two = (build(image_folder(tmp_path / name), image_version="1") for name in ("one", "two"))
    assert one.digest == two.digest


def test_another_version_or_another_file_gives_another_digest(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "image")
    first, second = build(folder, image_version="1"), build(folder, image_version="2")
    (folder / "inference" / "more.py").write_text("")
    assert len({first.digest, second.digest, build(folder, image_version="1").digest}) == 3


def test_compiled_files_are_not_part_of_the_image(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "image")
    before = build(folder, image_version="1").digest
    (folder / "inference" / "__pycache__").mkdir()
    (folder / "inference" / "__pycache__" / "app.pyc").write_text("x")
    assert build(folder, image_version="1").digest == before


def test_a_folder_without_its_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inference").mkdir()
    with pytest.raises(PushRefused, match="serve is missing"):
        build(tmp_path, image_version="1")


def test_ecr_knows_a_pushed_image_by_the_same_digest_and_again_pushing_is_fine(
    cloud: Cloud, repository: str, tmp_path: Path
) -> None:
    folder = image_folder(tmp_path / "image")
    uri = f"000000000000.dkr.ecr.{REGION}.amazonaws.com/{repository}"
    pushed = [
        push(folder, name, "same", image_version="same", endpoint=cloud.endpoint, region=REGION)
        for name in (repository, uri)
    ]
    with closing(boto3.client("ecr", endpoint_url=cloud.endpoint)) as ecr:
        known = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": "same"}])["imageDetails"]
    assert pushed == [known[0]["imageDigest"]] * 2


def test_an_immutable_tag_is_not_moved(cloud: Cloud, repository: str, tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "image")
    push(folder, repository, "fixed", image_version="1", endpoint=cloud.endpoint, region=REGION)
    with pytest.raises(PushRefused, match="tag 'fixed' is immutable. Tags cannot be moved: push under a new one"):
        push(folder, repository, "fixed", image_version="2", endpoint=cloud.endpoint, region=REGION)


def test_a_repository_that_is_not_there_is_named(cloud: Cloud, tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "image")
    with pytest.raises(PushRefused, match="repository name not known to registry: nowhere"):
        push(folder, "nowhere", "1", image_version="1", endpoint=cloud.endpoint, region=REGION)


def test_a_pulled_image_has_exactly_the_pushed_files(tmp_path: Path, registry_with: Serve) -> None:
    image = build(image_folder(tmp_path / "image"), image_version="7")
    images = Images(tmp_path / "state", lambda: registry_with(paths(image)), [])
    pulled = images.pull(f"localhost:1/inference@{image.digest}")
    images.unpack(pulled, tmp_path / "rootfs")
    found = files(tmp_path / "rootfs")
    assert found == {f"app/{name}": text for name, text in {**files(tmp_path / "image"), "VERSION": "7\n"}.items()}
    assert (tmp_path / "rootfs" / "app" / "serve").stat().st_mode & 0o100


@pytest.mark.parametrize("part", ["manifests", "config", "layer"])
def test_bytes_that_do_not_have_their_digest_are_refused(tmp_path: Path, registry_with: Serve, part: str) -> None:
    image, other = (build(image_folder(tmp_path / name), image_version=name) for name in ("good", "evil"))
    content = paths(image)
    if part == "manifests":
        content[f"/v2/inference/manifests/{image.digest}"] = other.manifest
    else:
        content[f"/v2/inference/blobs/{digest_of(getattr(image, part))}"] = getattr(other, part)
    images = Images(tmp_path / "state", lambda: registry_with(content), [])
    with pytest.raises(NoSuchImage, match="it should be sha256:.*but is sha256:"):
        images.pull(f"localhost:1/inference@{image.digest}")


def test_a_layer_that_is_not_what_the_config_says_is_refused(tmp_path: Path, registry_with: Serve) -> None:
    image, other = (build(image_folder(tmp_path / name), image_version=name) for name in ("good", "evil"))
    manifest = json.loads(image.manifest)
    manifest["layers"] = json.loads(other.manifest)["layers"]
    mixed = Built(json.dumps(manifest).encode(), image.config, other.layer)
    images = Images(tmp_path / "state", lambda: registry_with(paths(mixed)), [])
    with pytest.raises(NoSuchImage, match="Refused the content of a layer"):
        images.pull(f"localhost:1/inference@{mixed.digest}")


def test_a_stored_blob_that_was_changed_is_not_run(tmp_path: Path, registry_with: Serve) -> None:
    image = build(image_folder(tmp_path / "image"), image_version="1")
    images = Images(tmp_path / "state", lambda: registry_with(paths(image)), [])
    pulled = images.pull(f"localhost:1/inference@{image.digest}")
    stored = tmp_path / "state" / "blobs" / "sha256" / digest_of(image.layer).removeprefix("sha256:")
    stored.write_bytes(gzip.compress(b"other"))
    with pytest.raises(NoSuchImage, match="Refused a stored layer"):
        images.unpack(pulled, tmp_path / "rootfs")


def test_an_upper_layer_takes_away_and_replaces_what_a_lower_one_put(tmp_path: Path) -> None:
    lower = [("app", None), ("app/old.py", "1"), ("app/kept.py", "1"), ("cache", None), ("cache/.a", "1"), ("x", "1")]
    upper = [("app/.wh.old.py", ""), ("cache/.wh..wh..opq", ""), ("cache/b", "2"), ("x", None), ("x/inside", "2")]
    for layer in (lower, upper):
        with tar(*layer) as one:
            lay(one, tmp_path)
    assert files(tmp_path) == {"app/kept.py": "1", "cache/b": "2", "x/inside": "2"}


@pytest.mark.parametrize("name", ["../outside", "../.wh.outside"])
def test_a_layer_cannot_reach_out_of_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_text("mine")
    (tmp_path / "rootfs").mkdir()
    with tar((name, "x")) as layer, pytest.raises(NoSuchImage, match="Refused a layer"):
        lay(layer, tmp_path / "rootfs")
    assert (tmp_path / "outside").read_text() == "mine"
