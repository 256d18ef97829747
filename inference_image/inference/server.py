"""`serve`: load and verify the model, open the port, and at SIGTERM drain.

The port opens only when the model is proven; otherwise one line on stderr says why and the exit code is 1, so that a
rollout fails instead of serving. At SIGTERM /ready turns 503 and answers close their connections; after DRAIN_SECONDS
no connection is taken any more, what runs is finished, and the exit code is 0. Known limit: a request that a client
sends on an idle connection in the very moment it is closed is lost; a load balancer deregisters the task before.
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

import uvicorn

from inference import settings as settings_module
from inference.app import create_app
from inference.emf import Metrics
from inference.front import Life
from inference.model import Model, setup
from inference.problems import ModelFault, SettingsFault
from inference.settings import Settings
from inference.source import open_source

log = logging.getLogger("tidegate")

# Longer than a load balancer keeps an idle connection (60 s): the balancer must be the one who closes it.
KEEP_ALIVE_SECONDS = 75


class DrainingServer(uvicorn.Server):
    """uvicorn, but a signal first announces the end and then brings it, and the end is exit code 0."""

    def __init__(self, config: uvicorn.Config, life: Life, drain_seconds: float, now: Callable[[], float]) -> None:
        super().__init__(config)
        self.life = life
        self.drain_seconds = drain_seconds
        self.now = now
        self.close_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        if self.close_at is None:
            self.life.draining = True
            self.close_at = self.now() + self.drain_seconds
        elif sig == signal.SIGINT:
            self.should_exit = self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        if self.close_at is not None and self.now() >= self.close_at:
            self.should_exit = True
        return await super().on_tick(counter)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="serve", description="Serve one model. All settings come from the environment."
    )
    parser.add_argument("--check", action="store_true", help="ask a running server for /health; exit 0 when it lives")
    parser.add_argument(
        "--model", metavar="FOLDER", type=Path, help="serve this folder on this machine alone, for the person who types"
    )
    asked = parser.parse_args(arguments)
    try:
        settings = settings_module.read(os.environ)
    except SettingsFault as fault:
        return _refuse(f"The settings cannot be used: {fault}.")
    if asked.check:
        return _check(settings)
    return _serve(settings) if asked.model is None else _serve_here(settings, asked.model)


def _serve_here(settings: Settings, folder: Path) -> int:
    """Without a container: on loopback, and in plain words instead of log lines and metrics."""
    if not (folder / "manifest.json").is_file():
        there = "it has no manifest.json" if folder.is_dir() else "there is no such folder"
        return _refuse(f"{folder} is not a model: {there}. Train one: make train CSV=reviews.csv OUT={folder}")
    logging.basicConfig(level=logging.WARNING)
    here = replace(settings, model_uri=folder.resolve().as_uri(), bind_address="127.0.0.1", drain_seconds=0.0)
    return _serve(here, plainly=True)


def _serve(settings: Settings, plainly: bool = False) -> int:
    # As process 1 of a container Python would ignore SIGTERM until a handler is set.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if not plainly:
        _log_as_json()
    began = time.monotonic()
    try:
        model = _load(settings.model_uri)
    except ModelFault as fault:
        return _refuse(f"The model at {settings.model_uri} must not serve: {fault}.")
    name = model.run_id if model else "no model yet"
    log.info("serving %s as release %s, ready in %.2f s", name, settings.release, time.monotonic() - began)

    metrics = Metrics(
        write=(lambda _: None) if plainly else (lambda line: print(line, flush=True)),
        now=time.time,
        rng=random.Random(),
        service=settings.service,
        properties={"release": settings.release, "model": model.run_id if model else None, "digest": settings.digest},
    )
    life = Life()
    config = uvicorn.Config(
        create_app(settings, model, metrics, life),
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.finish_seconds,
    )
    try:
        listener = _listen(settings.bind_address, settings.port)
    except OSError as fault:
        why = os.strerror(fault.errno) if fault.errno else fault
        return _refuse(f"Port {settings.port} on {settings.bind_address} cannot be opened: {why}.")
    if plainly:
        print(f"{name} answers at http://{settings.bind_address}:{settings.port}/ (Ctrl+C ends it)", flush=True)
    DrainingServer(config, life, settings.drain_seconds, time.monotonic).run(sockets=[listener])
    return 0


def _load(uri: str) -> Model | None:
    if not uri:
        return None
    expected = uri.rstrip("/").rsplit("/", 1)[-1] if uri.startswith("s3://") else None
    return setup(open_source(uri), expected)


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=2048)


def _check(settings: Settings) -> int:
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.bind_address, settings.bind_address)
    connection = http.client.HTTPConnection(address, settings.port, timeout=2)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except OSError as fault:
        return _refuse(f"Nothing answers on {address}:{settings.port}: {fault}.")
    finally:
        connection.close()
    return 0 if status == 200 else _refuse(f"/health answered {status}.")


def _refuse(sentence: str) -> int:
    print(f"serve: {' '.join(sentence.split())}", file=sys.stderr, flush=True)
    return 1


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"at": self.formatTime(record), "level": record.levelname, "message": record.getMessage()}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _log_as_json() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Json())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for noisy in ("botocore", "boto3", "urllib3", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
