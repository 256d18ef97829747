"""What keeps a local cloud cheap while nothing happens: nobody asks again for what has not changed.

The parts beside the emulator watch it, and asking it costs both sides. So the emulator leaves a mark, a file in the
state folder, whenever machines, images, deployments, alarms or topics have changed, and the others look when the mark
did. Promise: a change leaves its mark within 0.1 s; what the mark might miss is seen within a second all the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARK_FILE = "changed"
COMPARE_SECONDS = 0.1
AT_LEAST_EVERY_SECONDS = 1.0
TASK_LOOK_SECONDS = 0.5

Stores = Any  # the emulator's module of a service
Look = Callable[..., None]


def picture(ec2: Stores, ecr: Stores, ecs: Stores, cloudwatch: Stores, sns: Stores) -> object:
    """All that the parts look for, of every account and region."""
    deployments = [
        (key, one["id"], one.get("rolloutState"), one.get("runningCount"))
        for key, service in list(ecs._services._data.items())
        for one in list(service.get("deployments", []))
    ]
    images = [
        (key, one["imageDigest"], tuple(one.get("imageTags") or ()))
        for key, kept in list(ecr._images._data.items())
        for one in list(kept)
    ]
    machines = [(key, one["State"]["Name"]) for key, one in list(ec2._instances._data.items())]
    alarms = [
        (key, one.get("StateValue"), one.get("StateUpdatedTimestamp"))
        for kind in (cloudwatch._alarms, cloudwatch._composite_alarms)
        for key, one in list(kind._data.items())
    ]
    return machines, images, deployments, alarms, list(sns._topics._data)


def leave_marks(state: Path, seen: Callable[[], object], every: float = COMPARE_SECONDS) -> None:
    """From now on, in the background, until the process ends."""

    def compare() -> None:
        before: object = None
        number = 0
        while True:
            now = seen()
            if now != before:
                before, number = now, number + 1
                fresh = state / f"{MARK_FILE}.new"
                fresh.write_text(str(number))
                fresh.replace(state / MARK_FILE)
            time.sleep(every)

    threading.Thread(target=compare, daemon=True, name="tidegate-marks").start()


@dataclass
class Changes:
    """One reader of the marks."""

    state: Path
    clock: Callable[[], float] = time.monotonic
    at_least_every: float = AT_LEAST_EVERY_SECONDS
    _mark: str = ""
    _due: float = 0.0

    def to_see(self) -> bool:
        """Whether it is time to look: something changed since the last yes, or it was long ago."""
        now, mark = self.clock(), self._read()
        if mark == self._mark and now < self._due:
            return False
        self._mark, self._due = mark, now + self.at_least_every
        return True

    def _read(self) -> str:
        try:
            return (self.state / MARK_FILE).read_text()
        except FileNotFoundError:
            return ""


def looking_seldom(
    look: Look, clock: Callable[[], float] = time.monotonic, every: float = TASK_LOOK_SECONDS
) -> Callable[..., None]:
    """The emulator asks the engine twice, ten times a second, whether a running task still runs. Twice a second will
    do; who asks for the tasks gets the truth of the moment as before."""

    def wrapped(task: MutableMapping[str, Any], docker: Any = None) -> None:
        if docker is None:
            look(task)
        elif clock() >= task.get("_look_again", 0.0):  # the emulator shows nothing that begins with _
            task["_look_again"] = clock() + every
            look(task, docker)

    return wrapped
