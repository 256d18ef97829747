"""What is in the images: little, nothing that was only needed to build, no secret; and that they run as they must."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.engine.docker import Docker, EngineFault
from local.processes import wait_until
from tests.engine.conftest import ROOT, Tell, build
from tests.engine.ready import BASE

pytestmark = pytest.mark.engine
BUDGET_MB = {"inference": 400, "trainer": 500}  # on top of the base image
TRAINER = "tidegate-tests-trainer:first"
TOOLS = {"gcc", "g++", "cc", "c++", "clang", "make", "cmake", "ld", "rustc", "cargo", "pip", "pip3", "uv", "git"}
LOCKED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none")
CACHES = ("root/.cache", "var/lib/apt/lists", "var/cache/apt", "var/cache/pip", "tmp/", "build/")
SECRET = re.compile(
    rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/]{40}"
    rb"|\b(?:AKIA|ASIA)(?![0-9A-Z]{9}EXAMPLE)[0-9A-Z]{16}\b"
    rb"|aws_secret_access_key\s*[=:]\s*[\"']?[A-Za-z0-9/+]{40}"
    rb"|//[^/\s:@\"'{}<>*]+:(?!pass)[^/\s:@\"'{}<>*]+@(?!example\.com)[a-z0-9-]+\.[a-z0-9.-]+"
    rb"|\b(?:ghp|gho|pypi)[-_][A-Za-z0-9]{30,}"
)


@dataclass(frozen=True)
class Entry:
    path: str
    size: int
    mode: int
    body: bytes


def layers_of(docker: Docker, image: str) -> list[str]:
    layers: list[str] = json.loads(docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", image))
    return layers


def own_files(docker: Docker, image: str, base: str, work: Path) -> Iterator[Entry]:
    """Every file of the layers that are on top of the base image, also those that a later layer hides."""
    saved = work / "image.tar"
    docker("save", "--output", str(saved), image, seconds=300)
    below = len(layers_of(docker, base))
    with tarfile.open(saved) as whole:
        names = json.load(whole.extractfile("manifest.json") or pytest.fail("no manifest"))[0]["Layers"]
        for name in names[below:]:
            with tarfile.open(fileobj=whole.extractfile(name)) as layer:
                for member in layer:
                    if member.isfile():
                        opened = layer.extractfile(member)
                        assert opened is not None
                        yield Entry(member.name, member.size, member.mode, opened.read())


@dataclass(frozen=True)
class Built:
    """An image, built as its Dockerfile says, and what is in it."""

    kind: str
    name: str
    files: list[Entry]


@pytest.fixture(scope="module")
def service(docker: Docker, inference: str, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return Built("inference", inference, list(own_files(docker, inference, BASE, tmp_path_factory.mktemp("image"))))


@pytest.fixture(scope="module")
def trainer(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    build(docker, ROOT / "examples" / "sklearn_trainer", TRAINER, BASE_IMAGE=BASE)
    yield Built("trainer", TRAINER, list(own_files(docker, TRAINER, BASE, tmp_path_factory.mktemp("image"))))
    docker("image", "rm", "--force", "--no-prune", TRAINER)  # its layers take a minute to make


@pytest.fixture(params=["service", "trainer"])
def image(request: pytest.FixtureRequest) -> Built:
    built: Built = request.getfixturevalue(request.param)
    return built


def megabytes(docker: Docker, image: str) -> float:
    return int(docker("image", "inspect", "--format", "{{.Size}}", image)) / 1e6


def test_it_is_within_its_budget(docker: Docker, image: Built, figures: Tell) -> None:
    base, whole = megabytes(docker, BASE), megabytes(docker, image.name)
    figures(
        f"{whole - base:.0f} MB on top of the base image of {base:.0f} MB; the budget is {BUDGET_MB[image.kind]} MB"
    )
    assert 10 < whole - base < BUDGET_MB[image.kind]


def test_it_has_no_tool_and_no_cache(image: Built, figures: Tell) -> None:
    figures(f"{len(image.files)} files of {sum(entry.size for entry in image.files) / 1e6:.0f} MB looked at")
    paths = [entry.path for entry in image.files]
    assert any(path.endswith(("inference/app.py", "trainer/train.py")) for path in paths), "nothing was looked at"
    assert [path for path in paths if path.rpartition("/")[2] in TOOLS] == []
    assert [path for path in paths if path.startswith(CACHES)] == []
    assert [entry.path for entry in image.files if entry.mode & 0o6000] == [], "set-uid files"


def test_the_service_has_no_test_and_nothing_outside_its_folders(service: Built) -> None:
    paths = [entry.path for entry in service.files]
    assert [path for path in paths if "/tests/" in path or re.search(r"/(test_\w+|conftest)\.pyc?$", path)] == []
    assert {path.split("/")[0] for path in paths} == {"app", "venv"}


def test_bytecode_is_there_for_the_service_and_only_beside_its_source(service: Built) -> None:
    paths = {entry.path for entry in service.files}
    compiled = {path for path in paths if path.endswith(".pyc")}
    assert any(path.startswith("app/inference/__pycache__/app.") for path in compiled)
    sources = {re.sub(r"__pycache__/([^/]+?)\.cpython-\d+(\.opt-\d)?\.pyc$", r"\1.py", path) for path in compiled}
    assert sources - paths == set()


def secrets(text: bytes) -> list[bytes]:
    """Keys and passwords; those of the packages' own manuals are none."""
    return [found.group() for found in SECRET.finditer(text)]


def test_no_layer_and_no_line_of_the_history_holds_a_secret(docker: Docker, image: Built) -> None:
    assert secrets(b"https://me:geheim@index.example.org/simple") and secrets(b"AKIA" + b"ABCDEFGHIJKLMNOP")
    assert secrets(b"-----BEGIN PRIVATE KEY-----\n" + b"MIIEvQ" * 9)
    assert {entry.path: found for entry in image.files if (found := secrets(entry.body))} == {}
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image.name)
    settings = docker("image", "inspect", "--format", "{{json .Config}}", image.name)
    assert {"inference": "serve", "trainer": "train.py"}[image.kind] in history and secrets(
        (history + settings).encode()
    ) == []
    assert re.search(r"(?i)(secret|token|password|aws_|pip_)\w*=", history + settings) is None


def test_it_runs_as_a_user_without_rights(docker: Docker, image: Built) -> None:
    user = docker("image", "inspect", "--format", "{{.Config.User}}", image.name).strip()
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_it_runs_as_a_task_does_and_cannot_do_more(docker: Docker, inference: str) -> None:
    """Without the host's network it also needs nobody: it starts with no model, and says that it lives."""
    name = docker("run", "--detach", *LOCKED, inference).strip()
    try:
        wait_until(lambda: ran(docker, name, "serve", "--check"), 30, "The health of the container")
        with pytest.raises(EngineFault, match="Read-only file system"):
            docker("exec", name, "python3", "-c", "open('/app/new', 'w')")
        capabilities = docker("exec", name, "python3", "-c", "print(open('/proc/self/status').read())")
        assert re.search(r"CapEff:\s+0+$", capabilities, re.MULTILINE)
        docker("stop", "--time", "20", name)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", name).strip() == "0"
    finally:
        docker("rm", "--force", name)


def ran(docker: Docker, name: str, *command: str) -> bool:
    try:
        docker("exec", name, *command)
    except EngineFault:
        return False
    return True


def test_the_example_of_a_trainer_runs_where_it_can_write_nothing(docker: Docker, trainer: Built) -> None:
    told = docker("run", "--rm", *LOCKED, trainer.name, "python", "-c", "import champion, skl2onnx; print('fine')")
    assert told.strip() == "fine"
