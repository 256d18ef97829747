"""What holds for every answer: the release's name on it, no stack trace in it, and its count in the metrics."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inference.emf import Metrics
from inference.problems import Problem, as_answer

log = logging.getLogger("tidegate")
COUNTED = frozenset({"/predict", "/explain"})
DEFECT = Problem(
    500, "The service has a defect and could not answer.", "Try again; if it stays, see the service's log."
)


@dataclass
class Life:
    """Whether the process is on its way out; set once, by the server, at SIGTERM."""

    draining: bool = False


class Front:
    def __init__(self, app: ASGIApp, release: str | None, metrics: Metrics, life: Life) -> None:
        self.app = app
        self.metrics = metrics
        self.life = life
        self.headers = [(b"x-tidegate-release", release.encode())] if release else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self.headers]
                if self.life.draining:
                    # Tells clients that hold a connection to open a new one, which goes to another task.
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            await self.app(scope, receive, send_on)
        except Exception:
            log.exception("a request to %s ended in a defect", scope["path"])
            if status:
                raise
            await as_answer(DEFECT)(scope, receive, send_on)
        finally:
            if scope["path"] in COUNTED and status:
                self.metrics.ended(status)
