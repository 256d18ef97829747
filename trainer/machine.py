"""The end of the machine, seen coming: SIGTERM, a Spot notice, a rebalance recommendation, or a limit of the run.

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
from dataclasses import dataclass
from typing import Literal

from trainer.errors import Interrupted, Stopped

POLL_S = 5.0
# Left of a limit for the last checkpoint and the shutdown, so that the cap holds: this, or a tenth of a small limit.
RESERVE_S = 30.0
# EC2 bills by the second, and at least a minute.
BILLED_AT_LEAST_S = 60.0
Cause = Literal["spot", "rebalance", "sigterm"]
log = logging.getLogger("trainer")


@dataclass(frozen=True)
class Notice:
    cause: Cause
    sentence: str


class Watch:
    """What is known about the machine's end: a notice, or a limit of the run that is reached."""

    def __init__(self, clock: Callable[[], float], already_s: float = 0.0) -> None:
        """`already_s`: how long the machine had been running before the trainer started."""
        self._clock, self._already_s = clock, already_s
        self._started = clock()
        self._limits: list[tuple[float, Stopped]] = []  # at which second of the machine, and what is said then
        self._notice: Notice | None = None

    @property
    def seconds(self) -> float:
        """Of the trainer."""
        return self._clock() - self._started

    @property
    def notice(self) -> Notice | None:
        return self._notice

    def give_notice(self, cause: Cause, sentence: str) -> None:
        """The first notice is the one that is told; a second one changes nothing."""
        self._notice = self._notice or Notice(cause, sentence)

    def limit(self, max_hours: float, max_cost: float | None = None, dollars_an_hour: float | None = None) -> None:
        """What this attempt may take. Without a price the hours alone are held."""
        sentence = f"The {max_hours:g} hours that this attempt may take are used up"
        self._limits = [(max_hours * 3600, Stopped(f"{sentence}: raise MaxRunHours, then drop again", "hours"))]
        if max_cost is not None and dollars_an_hour:
            seconds = max_cost / dollars_an_hour * 3600
            if seconds < BILLED_AT_LEAST_S:
                seconds = 0
            sentence = f"The ${max_cost:.4g} that this attempt may cost are used up at ${dollars_an_hour:.4g} an hour"
            self._limits.append((seconds, Stopped(f"{sentence}: raise MaxRunCost, then drop again", "cost")))
        self._limits.sort(key=lambda limit: limit[0])

    def end(self) -> Interrupted | Stopped | None:
        """Why the attempt must end now, without a full stop; None = it goes on."""
        if notice := self.notice:
            return Interrupted(notice.sentence, notice.cause)
        for seconds, stopped in self._limits:
            if self._already_s + self.seconds >= seconds - min(RESERVE_S, seconds / 10):
                return stopped
        return None

    def end_if_told(self, remark: str) -> None:
        """Raises Interrupted or Stopped; `remark` says what is left behind."""
        if end := self.end():
            raise type(end)(f"{end}; {remark}.", end.cause)  # type: ignore[arg-type]


def watch_sigterm(watch: Watch) -> None:
    sentence = "SIGTERM: the machine is shutting down"
    signal.signal(signal.SIGTERM, lambda _number, _frame: watch.give_notice("sigterm", sentence))


class MetadataService:
    """IMDSv2: a token first, then the two pages that announce an end."""

    def __init__(self, endpoint: str, timeout_s: float = 2.0) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._timeout_s = timeout_s
        # A proxy of the environment must never be asked for the machine's own metadata.
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def notice(self) -> Notice | None:
        """The announced end, or None. Raises OSError when the service does not answer."""
        token = self._ask("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        if token is None:
            return None
        held = {"X-aws-ec2-metadata-token": token}
        if page := self._ask("GET", "/latest/meta-data/spot/instance-action", held):
            action = json.loads(page)
            when = action.get("time", "an unknown time")
            return Notice("spot", f"Spot notice: {action.get('action', 'end')} at {when}")
        if page := self._ask("GET", "/latest/meta-data/events/recommendations/rebalance", held):
            when = json.loads(page).get("noticeTime", "an unknown time")
            return Notice("rebalance", f"Rebalance recommendation of {when}")
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
                if notice := service.notice():
                    watch.give_notice(notice.cause, notice.sentence)
            except (OSError, ValueError) as fault:
                if not told:
                    log.warning("The metadata service does not answer (%s); a Spot notice may be missed.", fault)
                told = True
            stop.wait(every_s)

    threading.Thread(target=poll, name="metadata", daemon=True).start()
    return stop
