"""The part of the container engine's HTTP API that the emulator uses, as docker-py speaks it.

Nothing else is answered: an unknown path is 404 with its name, so that a new need shows itself.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, Router

from local.engine.containers import Container, Containers, NameTaken, StartFailed
from local.engine.environment import architecture, pairs
from local.engine.images import Image, Images, NoSuchImage, parse
from local.engine.registry import OCI_MANIFEST

API_VERSION = "1.44"
LOG_POLL = 0.1
STDOUT = 1
NEVER = "0001-01-01T00:00:00Z"


def app(containers: Containers, images: Images) -> Starlette:
    api = Api(containers, images)
    routes = [
        Route("/_ping", ping, methods=["GET", "HEAD"]),
        Route("/version", version),
        Route("/info", info),
        Route("/images/create", api.pull, methods=["POST"]),
        Route("/images/{name:path}/json", api.image),
        Route("/images/{name:path}/tag", api.tag, methods=["POST"]),
        Route("/distribution/{name:path}/json", api.distribution),
        Route("/containers/json", api.containers),
        Route("/containers/create", api.create, methods=["POST"]),
        Route("/containers/{name}/json", api.inspect),
        Route("/containers/{name}/start", api.start, methods=["POST"]),
        Route("/containers/{name}/wait", api.wait, methods=["POST"]),
        Route("/containers/{name}/stop", api.stop, methods=["POST"]),
        Route("/containers/{name}/kill", api.kill, methods=["POST"]),
        Route("/containers/{name}/logs", api.logs),
        Route("/containers/{name}", api.remove, methods=["DELETE"]),
    ]
    server = Starlette(
        exception_handlers={
            HTTPException: answer(lambda fault: fault.status_code),
            NoSuchImage: answer(404),
            NameTaken: answer(409),
            StartFailed: answer(500),
        }
    )
    server.mount("/v{version}", Router(routes))
    server.mount("/", Router(routes))
    return server


def answer(status: int | Callable[[Any], int]) -> Callable[[Request, Exception], Response]:
    def respond(_: Request, fault: Exception) -> Response:
        message = fault.detail if isinstance(fault, HTTPException) else str(fault)
        return JSONResponse({"message": message}, status if isinstance(status, int) else status(fault))

    return respond


async def ping(_: Request) -> Response:
    return PlainTextResponse("OK", headers={"API-Version": API_VERSION, "OSType": "linux"})


async def version(_: Request) -> Response:
    return JSONResponse(
        {
            "Version": "tidegate-local",
            "ApiVersion": API_VERSION,
            "MinAPIVersion": "1.24",
            "Os": "linux",
            "Arch": architecture(),
        }
    )


async def info(_: Request) -> Response:
    return JSONResponse({"Name": "tidegate-local", "OSType": "linux", "Architecture": architecture()})


class Api:
    def __init__(self, containers: Containers, images: Images) -> None:
        self._containers = containers
        self._images = images

    async def pull(self, request: Request) -> Response:
        query = request.query_params
        text, tag = query.get("fromImage", ""), query.get("tag", "")
        sign = "@" if tag.startswith("sha256:") else ":"
        image = await asyncio.to_thread(self._images.pull, text + sign + tag if tag else text)
        return PlainTextResponse(json.dumps({"status": f"Digest: {image.digest}"}) + "\r\n")

    async def image(self, request: Request) -> Response:
        return JSONResponse(image_view(self._images.get(request.path_params["name"])))

    async def tag(self, request: Request) -> Response:
        query = request.query_params
        image = self._images.get(request.path_params["name"])
        self._images.tag(image, parse(f"{query['repo']}:{query.get('tag', 'latest')}"))
        return Response(status_code=201)

    async def distribution(self, request: Request) -> Response:
        digest, raw = await asyncio.to_thread(self._images.resolve, request.path_params["name"])
        media_type = json.loads(raw).get("mediaType", OCI_MANIFEST)
        return JSONResponse(
            {
                "Descriptor": {"digest": digest, "mediaType": media_type, "size": len(raw)},
                "Platforms": [{"os": "linux", "architecture": architecture()}],
            }
        )

    async def containers(self, request: Request) -> Response:
        everything = request.query_params.get("all", "0").lower() in ("1", "true")
        wanted = json.loads(request.query_params.get("filters", "{}")).get("label", [])
        return JSONResponse(
            [
                summary(container)
                for container in self._containers.all()
                if (everything or container.state == "running") and all(has(container, label) for label in wanted)
            ]
        )

    async def create(self, request: Request) -> Response:
        body = await request.json()
        container = self._containers.create(
            request.query_params.get("name", ""),
            body["Image"],
            body.get("Cmd"),
            pairs(body.get("Env")),
            body.get("Labels") or {},
        )
        return JSONResponse({"Id": container.id, "Warnings": []}, 201)

    async def inspect(self, request: Request) -> Response:
        return JSONResponse(container_view(self._named(request)))

    async def start(self, request: Request) -> Response:
        container = self._named(request)
        if container.state != "created":
            return Response(status_code=304)
        await self._containers.start(container)
        return Response(status_code=204)

    async def wait(self, request: Request) -> Response:
        container = self._named(request)
        await container.ended.wait()
        return JSONResponse({"StatusCode": container.exit_code})

    async def stop(self, request: Request) -> Response:
        container = self._named(request)
        if container.state != "running":
            return Response(status_code=304)
        await self._containers.stop(container, float(request.query_params.get("t", "10")))
        return Response(status_code=204)

    async def kill(self, request: Request) -> Response:
        container = self._named(request)
        if container.state != "running":
            raise HTTPException(409, f"Container {container.name} is not running")
        await self._containers.stop(container, 0.0, drain=0.0)
        return Response(status_code=204)

    async def remove(self, request: Request) -> Response:
        container = self._named(request)
        if container.state == "running" and request.query_params.get("force", "0").lower() not in ("1", "true"):
            raise HTTPException(409, f"Container {container.name} is running: stop it first, or remove it with force")
        await self._containers.remove(container)
        return Response(status_code=204)

    async def logs(self, request: Request) -> Response:
        query = request.query_params
        follow = query.get("follow", "0").lower() in ("1", "true")
        lines = query.get("tail", "all")
        return StreamingResponse(
            frames(self._named(request), follow, None if lines == "all" else int(lines)),
            media_type="application/vnd.docker.multiplexed-stream",
        )

    def _named(self, request: Request) -> Container:
        name = request.path_params["name"]
        container = self._containers.find(name)
        if container is None:
            raise HTTPException(404, f"No such container: {name}")
        return container


async def frames(container: Container, follow: bool, lines: int | None) -> AsyncIterator[bytes]:
    """The log in the engine's framing: a stream number, a length, the bytes."""
    position = 0
    if lines is not None and container.log.exists():
        content = container.log.read_bytes()
        position = len(content) - len(b"".join(content.splitlines(keepends=True)[-lines:] if lines else []))
    while True:
        # Asked before reading: what was written until the end is read once more after it.
        over = container.state != "running"
        if container.log.exists():
            with container.log.open("rb") as log:
                log.seek(position)
                while chunk := log.read(65536):
                    position += len(chunk)
                    yield struct.pack(">BxxxL", STDOUT, len(chunk)) + chunk
        if over or not follow:
            return
        await asyncio.sleep(LOG_POLL)


def has(container: Container, label: str) -> bool:
    name, given, value = label.partition("=")
    return name in container.labels and (not given or container.labels[name] == value)


def image_view(image: Image) -> dict[str, Any]:
    return {
        "Id": image.id,
        "RepoTags": [],
        "RepoDigests": [f"{image.repository}@{image.digest}"] if image.digest else [],
        "Config": dict(image.settings),
        "Architecture": architecture(),
        "Os": "linux",
    }


def summary(container: Container) -> dict[str, Any]:
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": container.reference,
        "ImageID": container.image.id,
        "Created": int(container.created.timestamp()),
        "Labels": container.labels,
        "State": container.state,
        "Status": container.state,
    }


def container_view(container: Container) -> dict[str, Any]:
    return {
        "Id": container.id,
        "Name": f"/{container.name}",
        "Created": stamp(container.created),
        "Image": container.image.id,
        "LogPath": str(container.log),
        "State": {
            "Status": container.state,
            "Running": container.state == "running",
            "Pid": container.process.pid if container.process and container.state == "running" else 0,
            "ExitCode": container.exit_code,
            "Error": container.failure or "",
            "StartedAt": stamp(container.started),
            "FinishedAt": stamp(container.finished),
        },
        "Config": {
            "Image": container.reference,
            "Labels": container.labels,
            "Cmd": container.command,
            "Tty": False,
            "Env": [f"{name}={value}" for name, value in container.env.items()],
        },
        "HostConfig": {"NetworkMode": "bridge", "LogConfig": {"Type": "json-file", "Config": {}}},
        "NetworkSettings": {
            "IPAddress": container.place.address,
            "Ports": {},
            "Networks": {"bridge": {"IPAddress": container.place.address}},
        },
    }


def stamp(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment else NEVER
