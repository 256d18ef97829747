"""The real template on real containers: one stack for all tests here, images built and pushed by `docker`.

`figures` takes what a test measured; it is printed at the end, so that the log of a run shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.cloud import Cloud
from local.engine.docker import DOCKER, Docker
from local.processes import free_port
from tests.e2e.stack import Stack
from tests.engine.ready import BASE, HOST, missing

ROOT = Path(__file__).resolve().parents[2]
FIRST = "tidegate-tests-inference:first"
TOLD: list[str] = []
Tell = Callable[[str], None]


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Tell:
    def tell(line: str) -> None:
        TOLD.append(f"{request.node.name}: {line}")

    return tell


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TOLD:
        terminalreporter.section("figures")
        for line in TOLD:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Docker:
    """The engine of this machine; what is missing is the reason why the test is skipped."""
    if fault := missing():
        pytest.skip(fault)
    return Docker(HOST, tmp_path_factory.mktemp("docker"))


@pytest.fixture(scope="session")
def stack(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Tasks are containers of this machine's engine. Any model that is no worse becomes champion, so that many do."""
    with pytest.MonkeyPatch.context() as settings:
        settings.setenv("TIDEGATE_BASE_IMAGE", BASE)
        settings.setenv("DOCKER_HOST", docker.host)
        with Cloud(state=tmp_path_factory.mktemp("cloud"), port=free_port()) as cloud:
            assert cloud.facts()["engine"] == DOCKER, cloud.facts()["engine_why"]
            cloud.deploy(parameters={"MinGain": "0", "MaxP": "1", "MaxClassLoss": "1", "MaxCalibrationLoss": "1"})
            yield Stack(cloud, cloud.outputs())


@pytest.fixture(scope="session")
def inference(docker: Docker) -> Iterator[str]:
    """The inference image, built as its Dockerfile says; the name under which others are made from it."""
    build(docker, ROOT / "inference_image", FIRST, BASE_IMAGE=BASE, IMAGE_VERSION="first")
    yield FIRST
    docker("image", "rm", "--force", FIRST)


def build(docker: Docker, folder: Path, image: str, **arguments: str) -> None:
    words = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    docker("build", "--quiet", *words, "--tag", image, str(folder), seconds=600)
