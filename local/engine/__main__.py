"""`python -m local.engine`: serve the stand-in on a unix socket until SIGTERM or SIGINT, then end all containers.

Credentials for the emulator come from the environment, as the SDKs define it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette

from local.engine import api
from local.engine.containers import Containers, Pace, loopback_addresses
from local.engine.credentials import Credentials, Roles
from local.engine.docker import Docker, EngineFault
from local.engine.environment import Cloud
from local.engine.images import Images
from local.engine.launch import EngineContainers
from local.engine.registry import connect
from local.engine.tasks import Tasks
from local.processes import MARK

KEEP_ALIVE = 120  # docker-py keeps its connections; closing one under it would look like an engine that failed


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.engine", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--socket", type=Path, required=True, help="unix socket to listen on")
    parser.add_argument("--state", type=Path, required=True, help="folder for images, containers and logs")
    parser.add_argument("--endpoint", required=True, help="the emulator, as tasks reach it")
    parser.add_argument("--region", required=True)
    parser.add_argument(
        "--placeholder",
        action="append",
        default=[],
        metavar="REFERENCE",
        help="public image that runs with this machine's Python; may be repeated",
    )
    parser.add_argument("--docker", metavar="HOST", help="run pulled images as containers of this engine, unix://…")
    pace = Pace()
    parser.add_argument("--grace", type=float, default=pace.grace, help="seconds until a task must be healthy")
    parser.add_argument("--ask-every", type=float, default=seconds("TIDEGATE_HEALTH_SECONDS", pace.ask_every),
                        help="seconds between two health checks of a task that starts")  # fmt: skip
    parser.add_argument("--watch-every", type=float, default=pace.watch_every, help="seconds between health checks")
    parser.add_argument("--drain", type=float, default=seconds("TIDEGATE_DRAIN_SECONDS", pace.drain),
                        help="seconds between a stop and its SIGTERM")  # fmt: skip
    return parser


def seconds(name: str, default: float) -> float:
    """From the environment of the local cloud; what is no number ends the start."""
    return float(os.environ.get(name) or default)


async def serve(options: argparse.Namespace) -> None:
    state = options.state.absolute()
    state.mkdir(parents=True, exist_ok=True)
    mark = {MARK: os.environ[MARK]} if MARK in os.environ else {}
    cloud = Cloud(options.endpoint.rstrip("/"), options.region, mark)
    engine = containers_of_an_engine(options.docker, state, cloud) if options.docker else None
    images = Images(
        state, partial(connect, cloud.endpoint, cloud.region), options.placeholder, engine.pull if engine else None
    )
    credentials = Credentials(Roles(cloud.endpoint, cloud.region).assume, partial(datetime.now, UTC))
    for_tasks = socket.create_server(("127.0.0.1", 0))
    containers = Containers(
        state,
        images,
        Tasks(cloud.endpoint, cloud.region),
        credentials,
        cloud,
        Pace(options.grace, options.ask_every, watch_every=options.watch_every, drain=options.drain),
        loopback_addresses(secrets.randbelow(1 << 16)),
        partial(secrets.token_hex, 32),
        f"http://127.0.0.1:{for_tasks.getsockname()[1]}",
        engine,
    )
    ended = asyncio.Event()
    servers = [server(credentials.app()), server(api.app(containers, images))]
    with listening(options.socket.absolute()) as engine_socket:
        serving = [
            asyncio.create_task(one.serve(sockets=[at]))
            for one, at in zip(servers, (for_tasks, engine_socket), strict=True)
        ]
        while not all(one.started for one in servers):
            await asyncio.sleep(0.01)
        # After the servers have set theirs: containers end first, while the emulator can still ask about them.
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        print(f"Container stand-in on {options.socket}", flush=True)
        await ended.wait()
        await containers.close()
        for one in servers:
            one.should_exit = True
        await asyncio.gather(*serving)


def containers_of_an_engine(host: str, state: Path, cloud: Cloud) -> EngineContainers:
    # The engine trusts a registry without TLS on localhost alone.
    registry = f"localhost:{urlsplit(cloud.endpoint).port}"
    try:
        return EngineContainers(Docker(host, state / "docker"), Path(cloud.mark.get(MARK, state)), registry, cloud)
    except EngineFault as fault:
        sys.exit(f"The container engine at {host} cannot be used. {fault}")


def server(app: Starlette) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=2,
        )
    )


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """The socket, for this user alone; its file goes when the stand-in goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as one:
        if path.exists():
            refuse_if_answering(path)
            path.unlink()
        before = os.umask(0o177)
        try:
            one.bind(str(path))
        except OSError as fault:
            sys.exit(f"Cannot listen on {path}: {fault}. A socket's path may have at most 107 bytes.")
        finally:
            os.umask(before)
        one.listen(128)
        try:
            yield one
        finally:
            path.unlink(missing_ok=True)


def refuse_if_answering(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other, contextlib.suppress(ConnectionRefusedError):
        other.connect(str(path))
        sys.exit(f"Another stand-in answers on {path}. End it first, or choose another --socket.")


if __name__ == "__main__":
    asyncio.run(serve(arguments().parse_args()))
