"""The stand-in and the emulator, as the local cloud starts them, on a free port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import docker
import pytest

from local.images import push
from local.processes import MARK, free_port, wait_until
from local.supervisor import answers, engine_answers
from tests.local_engine.helpers import APP, REGION, REGISTRY, REPOSITORY, image_folder

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
PLACEHOLDER = "public.ecr.aws/docker/library/python:3.12-slim"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cloud:
    endpoint: str
    socket: Path
    state: Path


@pytest.fixture(scope="session", autouse=True)
def keys() -> Iterator[None]:
    """The emulator's root key, for every SDK client of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**KEYS, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        yield


def start_engine(folder: Path, endpoint: str, *options: str) -> tuple[subprocess.Popen[bytes], Path]:
    socket = folder / "engine.sock"
    command = [
        sys.executable,
        "-m",
        "local.engine",
        "--socket",
        str(socket),
        "--state",
        str(folder / "state"),
        "--endpoint",
        endpoint,
        "--region",
        REGION,
        "--placeholder",
        PLACEHOLDER,
        *options,
    ]
    with (folder / "engine.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **KEYS, "SECRET_OF_THE_USER": "x"}, stderr=log)
    wait_until(lambda: engine_answers(str(socket)), 20, "An answer of the stand-in")
    return process, socket


def end(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=30)


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    with running_cloud() as one:
        yield one


@contextmanager
def running_cloud(*options: str) -> Iterator[Cloud]:
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    # Not under pytest's folder: a socket's path may have at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="tg-") as name:
        folder = Path(name)
        engine, socket = start_engine(folder, endpoint, "--grace", "4", "--watch-every", "0.2", *options)
        settings = {
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "HOSTNAME": "tidegate-tests",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",
            "MINISTACK_REGION": REGION,
            "MINISTACK_DOCKER_TIMEOUT": "60",
            "DOCKER_HOST": f"unix://{socket}",
            "S3_DATA_DIR": str(folder / "s3"),
            "PYTHONPATH": str(ROOT),
            MARK: str(folder / "state"),
        }
        with (folder / "emulator.log").open("ab") as log:
            command = [sys.executable, "-m", "local.emulator"]
            emulator = subprocess.Popen(command, cwd=folder, env={**os.environ, **settings}, stdout=log, stderr=log)
        try:
            wait_until(lambda: answers(f"{endpoint}/_ministack/health"), 30, "An answer of the emulator")
            yield Cloud(endpoint, socket, folder / "state")
        finally:
            end(emulator)
            end(engine)


@pytest.fixture(scope="session")
def repository(cloud: Cloud) -> str:
    with closing(boto3.client("ecr", endpoint_url=cloud.endpoint)) as ecr:
        ecr.create_repository(repositoryName=REPOSITORY, imageTagMutability="IMMUTABLE")
    return REPOSITORY


Pushed = Callable[..., str]


@pytest.fixture
def pushed(cloud: Cloud, repository: str, tmp_path: Path) -> Pushed:
    """Push an image with this code; its reference by digest."""

    def push_one(version: str, app: str = APP) -> str:
        folder = image_folder(tmp_path / version, app)
        digest = push(folder, repository, version, image_version=version, endpoint=cloud.endpoint, region=REGION)
        return f"{REGISTRY}/{repository}@{digest}"

    return push_one


@pytest.fixture
def engine(cloud: Cloud) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=f"unix://{cloud.socket}")
    yield client
    for container in client.containers.list(all=True, filters={"label": "of=test"}):
        container.remove(force=True)
    client.close()
