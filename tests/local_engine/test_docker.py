"""The choice of the engine, and containers of a real engine through the stand-in where one answers.

`.ci/engine` starts one and makes the base images where there are none.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import docker
import pytest
from docker.errors import APIError

from local import docker_push
from local.aws import Aws
from local.engine.docker import DEFAULT_HOST, LABEL, Choice, Docker, EngineFault, choose, last_word, unusable
from local.images import PushRefused
from local.processes import wait_until
from tests.engine.ready import BASE, HOST, missing
from tests.local_engine.conftest import Cloud, running_cloud
from tests.local_engine.helpers import APP, CRASHES, REGION, REPOSITORY, image_folder

DOCKERFILE = f"""
FROM {BASE}
ARG IMAGE_VERSION
COPY serve /app/serve
COPY inference /app/inference
RUN chmod 0755 /app/serve && printf '%s' "$IMAGE_VERSION" > /app/VERSION
ENV PATH=/app:/usr/local/bin:/usr/bin:/bin
USER 10001:10001
WORKDIR /app
EXPOSE 8080
CMD ["serve"]
"""


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Docker:
    """The engine of this machine; what is missing is the reason why the test is skipped."""
    if fault := missing():
        pytest.skip(fault)
    return Docker(HOST, tmp_path_factory.mktemp("docker"))


@pytest.fixture(scope="session")
def with_engine(real: Docker) -> Iterator[Cloud]:
    with running_cloud("--docker", real.host) as one:
        with closing(boto3.client("ecr", endpoint_url=one.endpoint, region_name=REGION)) as ecr:
            ecr.create_repository(repositoryName=REPOSITORY, imageTagMutability="IMMUTABLE")
        yield one
    assert containers_of(real, one) == []


@pytest.fixture
def stand_in(with_engine: Cloud) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=f"unix://{with_engine.socket}")
    yield client
    for container in client.containers.list(all=True):
        container.remove(force=True)
    client.close()


Push = Callable[..., str]


@pytest.fixture
def push(real: Docker, with_engine: Cloud, tmp_path: Path) -> Push:
    """Build an image with this code by the real engine, push it, and return its reference by digest."""

    def push_one(version: str, app: str = APP) -> str:
        folder = image_folder(tmp_path / version, app)
        (folder / "Dockerfile").write_text(DOCKERFILE)
        port = with_engine.endpoint.rpartition(":")[2]
        registry = f"localhost:{port}"
        aws = Aws(with_engine.endpoint, REGION)
        digest = docker_push.push(aws, real.host, folder, registry, REPOSITORY, version, version)
        return f"{registry}/{REPOSITORY}@{digest}"

    return push_one


def containers_of(real: Docker, cloud: Cloud) -> list[str]:
    return real("ps", "--all", "--format", "{{.Names}}", "--filter", f"label={LABEL}={cloud.state}").split()


def name_of(container: Any) -> str:
    return f"tidegate-{container.id[:12]}"


def get(container: Any, path: str) -> Any:
    container.reload()
    address = container.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    with urllib.request.urlopen(f"http://{address}:8080{path}", timeout=10) as response:
        return json.load(response)


def test_an_engine_that_answers_is_used_unless_processes_are_asked_for() -> None:
    answers: Callable[[str], str | None] = lambda _: None  # noqa: E731
    assert choose({}, answers) == Choice("docker", f"an engine answers at {DEFAULT_HOST}", DEFAULT_HOST)
    assert choose({"DOCKER_HOST": "unix:///x"}, answers).host == "unix:///x"
    assert choose({"TIDEGATE_ENGINE": "process"}, answers).engine == "process"


def test_without_an_engine_tasks_are_processes_and_the_reason_is_told() -> None:
    chosen = choose({"DOCKER_HOST": "unix:///nowhere/docker.sock"}, unusable)
    assert (chosen.engine, chosen.why) == ("process", "no container engine answers at unix:///nowhere/docker.sock")


def test_an_engine_that_was_asked_for_and_is_not_there_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(EngineFault, match="no container engine answers at .* say TIDEGATE_ENGINE=process"):
        choose({"TIDEGATE_ENGINE": "docker", "DOCKER_HOST": "unix:///nowhere"}, unusable)


def test_an_engine_elsewhere_is_not_used() -> None:
    assert "only an engine of this machine" in (unusable("tcp://10.0.0.1:2375") or "")


def test_a_word_that_is_no_engine_is_refused() -> None:
    with pytest.raises(EngineFault, match="'podman'. Say docker or process"):
        choose({"TIDEGATE_ENGINE": "podman"}, unusable)


def test_the_clients_advice_to_read_its_help_is_not_its_last_word() -> None:
    assert last_word("docker: no such file\n\nRun 'docker run --help' for more information\n") == "docker: no such file"


@pytest.mark.engine
def test_a_container_is_locked_down_and_runs_the_pushed_code(
    real: Docker, stand_in: docker.DockerClient, push: Push
) -> None:
    container = stand_in.containers.run(push("locked"), detach=True)
    assert get(container, "/")["version"] == "locked"
    seen = json.loads(real("inspect", name_of(container)))[0]
    settings = seen["HostConfig"]
    assert settings["ReadonlyRootfs"]
    assert settings["CapDrop"] == ["ALL"]
    assert settings["SecurityOpt"] == ["no-new-privileges"]
    assert seen["Config"]["User"] == "10001:10001"


@pytest.mark.engine
def test_a_container_has_its_address_and_nothing_of_its_users_environment(
    stand_in: docker.DockerClient, push: Push
) -> None:
    container = stand_in.containers.run(
        push("environment"), detach=True, environment={"MODEL_URI": "s3://b/m/", "AWS_ACCESS_KEY_ID": "x"}
    )
    seen = get(container, "/environment")
    assert seen["MODEL_URI"] == "s3://b/m/"
    assert seen["BIND_ADDRESS"].startswith("127.77.")
    assert seen["PATH"] == "/app:/usr/local/bin:/usr/bin:/bin"
    assert not {"SECRET_OF_THE_USER", "AWS_ACCESS_KEY_ID", "DOCKER_HOST"} & set(seen)


@pytest.mark.engine
def test_a_stop_reaches_the_program_in_the_container(
    real: Docker, with_engine: Cloud, stand_in: docker.DockerClient, push: Push
) -> None:
    container = stand_in.containers.run(push("drains"), detach=True)
    assert containers_of(real, with_engine) == [name_of(container)]
    container.stop(timeout=10)
    assert container.wait()["StatusCode"] == 0
    assert container.logs().endswith(b"draining\ndrained\n")
    assert containers_of(real, with_engine) == []


@pytest.mark.engine
def test_a_sick_container_is_killed_and_removed(
    real: Docker, with_engine: Cloud, stand_in: docker.DockerClient, push: Push
) -> None:
    container = stand_in.containers.run(push("sick"), detach=True)
    get(container, "/sick")
    assert container.wait()["StatusCode"] == 137
    wait_until(lambda: containers_of(real, with_engine) == [], 10, "The removal of the container")


@pytest.mark.engine
def test_a_crash_at_the_start_fails_it_with_the_last_word(stand_in: docker.DockerClient, push: Push) -> None:
    with pytest.raises(APIError, match="exited with code 1 before it was healthy: the vocabulary is missing"):
        stand_in.containers.run(push("crashes", CRASHES), detach=True, name="crashes")


@pytest.mark.engine
def test_a_build_that_fails_says_what_to_do(real: Docker, with_engine: Cloud, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM tidegate-no-such-base.invalid/x:1\n")
    with pytest.raises(PushRefused, match="was not built.*TIDEGATE_ENGINE=process make up"):
        docker_push.push(
            Aws(with_engine.endpoint, REGION), real.host, tmp_path, "localhost:1", REPOSITORY, "none", "none"
        )
