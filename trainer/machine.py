"""The end of the machine, seen coming: SIGTERM, a Spot notice, a rebalance recommendation, or the run's own time limit.

A thread asks the metadata service; the training asks `Watch`. Nothing is torn off in the middle: the notice is a flag
that the training looks at between two passes, saves its checkpoint, and ends.
"""

from __future__ import annotations

import json
import logging
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable

from trainer.errors import Failed

POLL_S = 5.0
log = logging.getLogger("trainer")


class Watch:
    """What is known about the machine's end. `notice` is None, or one sentence."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = clock()
        self._max_hours: float | None = None
        self._notice: str | None = None

    @property
    def seconds(self) -> float:
        return self._clock() - self._started

    @property
    def notice(self) -> str | None:
        return self._notice

    def give_notice(self, sentence: str) -> None:
        """The first notice is the one that is told."""
        self._notice = self._notice or sentence

    def limit(self, max_hours: float) -> None:
        self._max_hours = max_hours

    def check_time(self) -> None:
        """Raises Failed when the run's time is used up."""
        if self._max_hours is not None and self.seconds > self._max_hours * 3600:
            raise Failed(
                f"The attempt took longer than the limit of {self._max_hours:g} hours: raise it, or train on less data."
            )


def watch_sigterm(watch: Watch) -> None:
    signal.signal(signal.SIGTERM, lambda _number, _frame: watch.give_notice("SIGTERM: the machine is shutting down"))


class MetadataService:
    """IMDSv2: a token first, then the two pages that announce an end."""

    def __init__(self, endpoint: str, timeout_s: float = 2.0) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._timeout_s = timeout_s
        # A proxy of the environment must never be asked for the machine's own metadata.
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def notice(self) -> str | None:
        """The announced end as one sentence, or None. Raises OSError when the service does not answer."""
        token = self._ask("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        if token is None:
            return None
        held = {"X-aws-ec2-metadata-token": token}
        if page := self._ask("GET", "/latest/meta-data/spot/instance-action", held):
            action = json.loads(page)
            return f"Spot notice: {action.get('action', 'end')} at {action.get('time', 'an unknown time')}"
        if page := self._ask("GET", "/latest/meta-data/events/recommendations/rebalance", held):
            return f"Rebalance recommendation of {json.loads(page).get('noticeTime', 'an unknown time')}"
        return None

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> str | None:
        request = urllib.request.Request(self._endpoint + path, method=method, headers=headers)
        try:
            with self._open(request, timeout=self._timeout_s) as answer:
                body: bytes = answer.read()
                return body.decode()
        except urllib.error.HTTPError as fault:
            with fault:
                if fault.code == 404:
                    return None
                raise


def watch_metadata(watch: Watch, service: MetadataService, every_s: float = POLL_S) -> threading.Event:
    """Ask the service in the background until there is a notice. Set the returned event to stop asking."""
    stop = threading.Event()

    def poll() -> None:
        told = False
        while not stop.is_set() and watch.notice is None:
            try:
                if sentence := service.notice():
                    watch.give_notice(sentence)
            except (OSError, ValueError) as fault:
                if not told:
                    log.warning("The metadata service does not answer (%s); a Spot notice may be missed.", fault)
                told = True
            stop.wait(every_s)

    threading.Thread(target=poll, name="metadata", daemon=True).start()
    return stop
