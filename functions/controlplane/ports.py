"""What the flows need from the outside world, in the domain's own words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from .domain.alarms import Answer
from .domain.alerts import Alert
from .domain.batches import Batch, RefusedDrop
from .domain.drops import Drop, Finding
from .domain.images import Push
from .domain.releases import Release, Rollout, ServiceView
from .domain.runs import Machine, Outcome, Queue, Run


class TryAgain(Exception):
    """Nothing is wrong for good: the event's own retry, or the next event, does it."""


class Conflict(TryAgain):
    """Somebody else wrote first; read again."""


class NoCapacity(TryAgain):
    """No pool could serve the run now; trying later may work."""


class BadFleet(Exception):
    """EC2 refused the request itself: a person has to mend the stack. The message says what."""


@dataclass(frozen=True)
class Record:
    """One line of the ledger's history: who or what, from, to, why."""

    at: datetime
    subject: str
    was: str
    now: str
    why: str


class Ledger(Protocol):
    """The one truth. Every change is written with its record, and in one piece with what belongs to it."""

    def batch(self, dataset: str) -> Batch | None: ...
    def open_batches(self) -> Sequence[Batch]: ...
    def batch_of(self, drop: Drop) -> str | None:
        """The id of the batch that took the drop in, or None when the drop is new."""
        ...

    def take_in(self, drop: Drop, batch: Batch, before: Batch | None, record: Record) -> None:
        """Store the drop and its batch in one piece. Raises Conflict when `before` is not what is stored."""
        ...

    def accepted_drops(self, dataset: str) -> Sequence[Drop]: ...
    def close(self, batch: Batch, *, run: Run | None, queue: Queue, alerts: Sequence[Alert], record: Record) -> None:
        """Close the batch, store its run (if one is to be queued) and the queue, note its alerts, in one piece.

        Raises Conflict.
        """
        ...

    def run(self, run_id: str) -> Run | None: ...
    def queue(self) -> Queue: ...
    def save_run(
        self,
        run: Run,
        record: Record,
        *,
        queue: Queue | None = None,
        champion: str | None = None,
        baseline: str | None = None,
        alerts: Sequence[Alert] = (),
    ) -> Run:
        """The run as stored, with its new version; with `champion`, `baseline`, its dataset's too. Raises Conflict."""
        ...

    def champion(self, dataset: str) -> str | None: ...
    def baseline(self, dataset: str) -> str | None:
        """The last run of the dataset that published a model: what the next one's data is compared with."""
        ...

    def rollout(self) -> Rollout: ...
    def save_rollout(
        self, rollout: Rollout, changed: Sequence[Release], records: Sequence[Record], alerts: Sequence[Alert] = ()
    ) -> Rollout:
        """Raises Conflict."""
        ...

    def note(self, alerts: Sequence[Alert], record: Record) -> None:
        """Alerts that belong to no other change. One that was noted before is not noted again."""
        ...

    def decided(self, incident: str, answer: Answer) -> Answer:
        """What was decided for this incident: the first answer that was stored."""
        ...

    def is_noted(self, alert_id: str) -> bool: ...
    def unsent(self) -> Sequence[Alert]: ...
    def claim(self, alert: Alert, now: datetime) -> bool:
        """May this function send it? False when it is sent, or another one claimed it less than a minute ago."""
        ...

    def sent(self, alert: Alert) -> None: ...


class Bucket(Protocol):
    """The data bucket."""

    def head(self, drop: Drop, size: int) -> bytes | None:
        """The first `size` bytes of exactly this object; None when it is gone."""
        ...

    def present(self, dataset: str) -> Iterable[tuple[str, str]]:
        """(key, etag) of every object of the dataset under raw/."""
        ...

    def quarantine(self, drop: Drop, finding: Finding, at: datetime) -> RefusedDrop:
        """Write report.json and report.html."""
        ...

    def write_spec(self, run_id: str, spec: Mapping[str, Any]) -> None: ...
    def read_spec(self, run_id: str) -> dict[str, Any]: ...
    def manifest(self, run_id: str) -> dict[str, Any] | None:
        """None when it is not there. Raises BadManifest when it is not JSON."""
        ...

    def is_published(self, run_id: str) -> bool: ...
    def sha256_of(self, run_id: str, path: str) -> str | None:
        """Of a file of the model; None when it is not there."""
        ...

    def outcome(self, run_id: str, attempt: int) -> Outcome | None: ...


class Fleet(Protocol):
    def launch(self, run: Run) -> Machine:
        """One machine a launch token, however often it is asked. Raises NoCapacity, BadFleet."""
        ...

    def machines(self) -> Mapping[str, tuple[str, datetime]]:
        """Machine id -> (run id, launched at) of every machine of this stack that is pending or running."""
        ...

    def run_of(self, machine_id: str) -> str | None:
        """The run that a machine of this stack was launched for; None for any other machine."""
        ...

    def end(self, machine_id: str) -> None: ...


class Service(Protocol):
    def view(self) -> ServiceView: ...
    def deploy(self, release: Release) -> str:
        """Ask for the release; return the deployment's id. Asking again for the same release changes nothing."""
        ...

    def scale_to(self, count: int) -> None: ...


class Images(Protocol):
    def pushed(self) -> Sequence[Push]:
        """The repository's tagged images, newest first."""
        ...


class Timer(Protocol):
    def settle(self, batch: Batch, after: timedelta) -> None:
        """Wake the batch's settling after so long; the message carries the batch's id and `last_drop_at`."""
        ...

    def launch(self, after: timedelta) -> None:
        """Look at the queue of runs again after so long."""
        ...


class Notifier(Protocol):
    def tell(self, alert: Alert) -> None: ...
