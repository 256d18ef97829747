"""A verified tiny model, the service around it, and the real `serve` as a process."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from botocore.config import Config
from inference.app import create_app
from inference.emf import Metrics
from inference.front import Life
from inference.model import Model, setup
from inference.settings import Settings
from inference.source import Folder
from jsonschema import Draft202012Validator
from mypy_boto3_s3 import S3Client

from tests.serving.tiny_model import write_model

ROOT = Path(__file__).resolve().parents[2]
SERVE = ROOT / "inference_image" / "serve"
CONTRACT = json.loads((ROOT / "events" / "contracts" / "serving.json").read_text())
DEADLINE_SECONDS = 20.0

SETTINGS = Settings(
    model_uri="file:///models/x",
    release="7",
    image="repository.example/inference@sha256:" + "ab" * 32,
    image_version="3",
)


def until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """Wait until the condition holds and return what it gave. Says what was waited for when it never does."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds} s in vain: {what}"
        pause.wait(0.02)
    return found


def by_contract(name: str, body: Any) -> Any:
    """The body again, when it is what the contract calls `name`."""
    Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": CONTRACT["$defs"]}).validate(body)
    return body


class Client:
    """Requests to an app in this process, from a test that is not async."""

    def __init__(self, portal: BlockingPortal, client: httpx.AsyncClient) -> None:
        self.portal = portal
        self.client = client

    def request(self, method: str, path: str, json: Any = None, content: bytes | str | None = None) -> httpx.Response:
        async def send() -> httpx.Response:
            return await self.client.request(method, path, json=json, content=content)

        return self.portal.call(send)

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def head(self, path: str) -> httpx.Response:
        return self.request("HEAD", path)

    def post(self, path: str, json: Any = None, content: bytes | str | None = None) -> httpx.Response:
        return self.request("POST", path, json, content)


@dataclass
class Service:
    """The app in this process, and what one would see of it from outside."""

    client: Client
    life: Life
    metrics: Metrics
    lines: list[str] = field(default_factory=list)


@contextmanager
def service(model: Model | None, settings: Settings = SETTINGS) -> Iterator[Service]:
    lines: list[str] = []
    metrics = Metrics(lines.append, lambda: 1_700_000_000.0, random.Random(1), settings.service, {"release": "7"})
    life = Life()
    app = create_app(settings, model, metrics, life)
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://serving")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.router.lifespan_context(app)),
        portal.wrap_async_context_manager(http),
    ):
        yield Service(Client(portal, http), life, metrics, lines)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def model(model_folder: Path) -> Model:
    return setup(Folder(model_folder))


@pytest.fixture
def served(model: Model) -> Iterator[Service]:
    with service(model) as running:
        yield running


@pytest.fixture
def empty() -> Iterator[Service]:
    with service(None) as running:
        yield running


def s3_client(endpoint: str) -> S3Client:
    once = Config(connect_timeout=2, retries={"total_max_attempts": 1})
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=once,
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def environment(**settings: str) -> dict[str, str]:
    """What the process gets: nothing of the person's own environment but the way to Python."""
    python = f"{Path(sys.executable).parent}{os.pathsep}/usr/bin{os.pathsep}/bin"
    return {"PATH": python, "BIND_ADDRESS": "127.0.0.1", "LANG": "C.UTF-8", "DRAIN_SECONDS": "0", **settings}


@dataclass
class Running:
    process: subprocess.Popen[str]
    url: str

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(DEADLINE_SECONDS)


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    """Start the real `serve`; it answers /health when this returns, and has ended when the test has."""
    started: list[subprocess.Popen[str]] = []

    def start(command: Path = SERVE, **settings: str) -> Running:
        port = free_port()
        process = subprocess.Popen(
            [str(command)],
            env=environment(PORT=str(port), **settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        url = f"http://127.0.0.1:{port}"

        def alive() -> bool:
            if process.poll() is not None:
                raise AssertionError(f"serve ended with {process.returncode}: {process.communicate()[0]}")
            try:
                return httpx.get(f"{url}/health").status_code == 200
            except httpx.TransportError:
                return False

        until(alive, "serve answers /health")
        return Running(process, url)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
