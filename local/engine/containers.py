"""Containers as processes: created from an image, started until healthy, watched, stopped, removed.

The promises that make a rollout honest without an engine:
- `start` returns when the load balancer's check of the task succeeds, and fails with the last line of the log when
  the process ends or the grace period passes, so that the emulator's circuit breaker counts it;
- a once-healthy container that stops answering is killed, as ECS would;
- `stop` waits a moment before SIGTERM, because the load balancer may still be handing over a request that it
  accepted before the target was deregistered. AWS does the same for the deregistration delay.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import Protocol

from botocore.exceptions import BotoCoreError, ClientError

from local.engine import health
from local.engine.credentials import Credentials
from local.engine.environment import Cloud, Place
from local.engine.images import Image, Images, NoSuchImage
from local.engine.launch import Launcher, Processes, last_line
from local.engine.tasks import NoSuchTask, Task
from local.leash import PARENT_DIED
from local.processes import LEASH

DEFAULT_PORT = 8080
HEALTH_PATH = "/health"
ADDRESSES_TRIED = 256
# The leash ends all that a container started, with code 137, when it hears that its parent died: a SIGKILL for a tree.
KILL = PARENT_DIED
NO_GRACE_OF_ITS_OWN = 86400  # the leash would kill after its grace; here the caller of `stop` says how long


class StartFailed(Exception):
    """The container did not start, or never got healthy; the message ends with the last line of its log."""


class NameTaken(Exception):
    """Another container has this name."""


class Tasks(Protocol):
    def of(self, labels: Mapping[str, str]) -> Task | None:
        """The ECS task that the labels name; None when they name none."""


@dataclass(frozen=True)
class Pace:
    grace: float = 20.0  # seconds until a starting container must have been healthy once
    ask_every: float = 0.2
    ask_timeout: float = 5.0
    watch_every: float = 1.0
    failures: int = 3  # unanswered checks in a row that end a once-healthy container
    drain: float = 1.0  # seconds between a stop and its SIGTERM


@dataclass
class Container:
    id: str
    name: str
    reference: str
    image: Image
    command: list[str]
    env: dict[str, str]
    labels: dict[str, str]
    place: Place
    log: Path
    created: datetime
    check: health.Check | None = None
    process: asyncio.subprocess.Process | None = None
    started: datetime | None = None
    finished: datetime | None = None
    exit_code: int = 0
    failure: str | None = None
    credentials: str | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    guards: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def state(self) -> str:
        if self.ended.is_set():
            return "exited"
        return "running" if self.process else "created"


class Containers:
    def __init__(
        self,
        state: Path,
        images: Images,
        tasks: Tasks,
        credentials: Credentials,
        cloud: Cloud,
        pace: Pace,
        addresses: Iterator[str],
        new_id: Callable[[], str],
        credentials_at: str,
        engine: Launcher | None = None,
    ) -> None:
        """With `engine` pulled images run there; placeholders are processes all the same."""
        self._state, self._images, self._tasks, self._credentials = state, images, tasks, credentials
        self._cloud, self._pace, self._addresses, self._new_id = cloud, pace, addresses, new_id
        self._credentials_at = credentials_at
        self._processes = Processes(images, cloud)
        self._engine = engine or self._processes
        self._all: dict[str, Container] = {}
        shutil.rmtree(state / "containers", ignore_errors=True)
        (state / "logs").mkdir(parents=True, exist_ok=True)

    def all(self) -> list[Container]:
        return list(self._all.values())

    def find(self, name: str) -> Container | None:
        """By id, by the beginning of an id (as engines allow), or by name."""
        if not name:
            return None
        for container in self._all.values():
            if name in (container.id, container.name) or (len(name) >= 12 and container.id.startswith(name)):
                return container
        return None

    def create(
        self, name: str, reference: str, command: list[str] | None, env: dict[str, str], labels: dict[str, str]
    ) -> Container:
        image = self._images.get(reference)
        identity = self._new_id()
        name = name or identity[:12]
        taken = self.find(name)
        if taken and taken.failure:
            # The emulator tries once more without the platform. The reason is worth more than "name taken".
            raise StartFailed(taken.failure)
        if taken:
            raise NameTaken(f'The container name "{name}" is already in use. Remove that container first.')
        settings = image.settings
        argv = [*(settings.get("Entrypoint") or []), *(command or settings.get("Cmd") or [])]
        if not argv:
            raise StartFailed(f"{reference} says no command and none was given.")
        place = Place(identity, self._state / "containers" / identity[:12], self._address(port_of(image)))
        log = self._state / "logs" / f"{name}-{identity[:12]}.log"
        container = Container(identity, name, reference, image, argv, env, labels, place, log, datetime.now(UTC))
        self._all[identity] = container
        return container

    async def start(self, container: Container) -> None:
        try:
            await self._start(container)
        except (StartFailed, NoSuchImage, NoSuchTask, ClientError, BotoCoreError, OSError) as fault:
            container.failure = str(fault)
            await self._end(container)
            raise StartFailed(container.failure) from fault

    async def stop(self, container: Container, seconds: float, drain: float | None = None) -> None:
        """SIGTERM after the drain, SIGKILL when it has not ended `seconds` later."""
        if container.state != "running":
            return
        dismiss(container)
        wait = self._pace.drain if drain is None else drain
        if container.check and wait > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(container.ended.wait(), wait)
        send(container, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(container.ended.wait(), seconds)
        await self._end(container)

    async def remove(self, container: Container) -> None:
        """Take away everything but the log."""
        await self._end(container)
        await asyncio.to_thread(shutil.rmtree, container.place.folder, ignore_errors=True)
        self._all.pop(container.id, None)

    async def close(self) -> None:
        """End all containers, at once: nobody is asked to drain when the local cloud goes down."""
        await asyncio.gather(*(self.stop(container, 3.0, drain=0.0) for container in self.all()))
        await asyncio.gather(*(self.remove(container) for container in self.all()))
        await asyncio.to_thread(self._engine.close)

    async def _start(self, container: Container) -> None:
        task = await asyncio.to_thread(self._tasks.of, container.labels)
        container.check = task.check if task else own_check(container.image)
        if task and task.role:
            container.credentials = await self._credentials.open(task.role, container.id[:32])
        launcher = self._launcher(container.image)
        launch = await asyncio.to_thread(
            launcher.prepare,
            container.image,
            container.command,
            container.env,
            container.place,
            self._credentials_at + container.credentials if container.credentials else None,
        )
        with container.log.open("ab") as log:
            container.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-S",
                "-E",
                str(LEASH),
                str(os.getpid()),
                str(NO_GRACE_OF_ITS_OWN),
                "end",
                *launch.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=launch.env,
                cwd=launch.cwd,
                start_new_session=True,
            )
        container.started = datetime.now(UTC)
        container.guards.append(asyncio.create_task(self._reap(container, container.process)))
        if container.check:
            await self._until_healthy(container, container.check)
            container.guards.append(asyncio.create_task(self._watch(container, container.check)))

    async def _until_healthy(self, container: Container, check: health.Check) -> None:
        seen: str | None = "no answer yet"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pace.grace):
                while seen and not container.ended.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(container.ended.wait(), self._pace.ask_every)
                    if not container.ended.is_set():
                        seen = await health.ask(check, container.place.address, self._pace.ask_timeout)
        if container.ended.is_set():
            code, word = container.exit_code, last_line(container.log)
            raise StartFailed(f"the container exited with code {code} before it was healthy: {word}")
        if seen:
            raise StartFailed(
                f"task failed ELB health checks: {seen}; not healthy within {self._pace.grace:g} s; "
                f"last line of its log: {last_line(container.log)}"
            )

    async def _watch(self, container: Container, check: health.Check) -> None:
        failed = 0
        while failed < self._pace.failures:
            await asyncio.sleep(self._pace.watch_every)
            failed = failed + 1 if await health.ask(check, container.place.address, self._pace.ask_timeout) else 0
        send(container, KILL)

    async def _reap(self, container: Container, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        await asyncio.to_thread(self._launcher(container.image).ended, container.place)
        container.exit_code = code if code >= 0 else 128 - code
        container.finished = datetime.now(UTC)
        container.ended.set()
        dismiss(container)
        if container.credentials:
            self._credentials.close(container.credentials)

    async def _end(self, container: Container) -> None:
        if container.process and not container.ended.is_set():
            send(container, KILL)
            await container.ended.wait()
        elif not container.process and container.failure:
            container.exit_code, container.finished = 1, datetime.now(UTC)
            container.ended.set()

    def _launcher(self, image: Image) -> Launcher:
        return self._engine if image.digest else self._processes

    def _address(self, port: int) -> str:
        """A loopback address on which nobody else, of this engine or another, has the port."""
        taken = {container.place.address for container in self._all.values()}
        for address in islice(self._addresses, ADDRESSES_TRIED):
            if address not in taken and is_free(address, port):
                return address
        raise StartFailed(
            f"Port {port} is taken on all of {ADDRESSES_TRIED} loopback addresses. "
            f"A program that listens on 0.0.0.0:{port} does that: end it, or let it listen on 127.0.0.1."
        )


def own_check(image: Image) -> health.Check | None:
    """For a container of no task: an image that exposes a port says on it when it is healthy."""
    return health.Check(port_of(image), HEALTH_PATH) if image.settings.get("ExposedPorts") else None


def port_of(image: Image) -> int:
    exposed = sorted(image.settings.get("ExposedPorts") or {})
    return int(exposed[0].partition("/")[0]) if exposed else DEFAULT_PORT


def is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def send(container: Container, number: signal.Signals) -> None:
    if container.process is not None:
        with contextlib.suppress(ProcessLookupError):
            container.process.send_signal(number)


def dismiss(container: Container) -> None:
    """End the watch; the reaper stays until the process has ended."""
    for guard in container.guards[1:]:
        guard.cancel()


def loopback_addresses(first: int) -> Iterator[str]:
    """127.77.0.0/16 around and around, from `first` on: two engines on one machine seldom meet, and then look again."""
    for number in count(first):
        high, low = divmod(number % (1 << 16), 256)
        if low not in (0, 255):
            yield f"127.77.{high}.{low}"
