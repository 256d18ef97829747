"""What the flows need from the outside world, in the domain's own words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from .domain.account import Preconditions, Quota
from .domain.alarms import Answer
from .domain.alerts import Alert
from .domain.batches import Batch, RefusedDrop
from .domain.crashes import Ended
from .domain.drops import Drop, Finding
from .domain.estimates import Pace
from .domain.failures import FailedTask
from .domain.images import Push
from .domain.money import Bill
from .domain.pools import Rest
from .domain.prices import Quote
from .domain.probes import GoldenRow, Proof, Question, Reply
from .domain.refusals import Refusal
from .domain.releases import Release
from .domain.rollout import Rollout
from .domain.runs import Machine, Outcome, Queue, Run
from .domain.scans import Scan
from .domain.service_view import ServiceView


class TryAgain(Exception):
    """Nothing is wrong for good: the event's own retry, or the next event, does it."""


class Conflict(TryAgain):
    """Somebody else wrote first; read again."""


class Unanswered(Exception):
    """A task could not be asked: refused, cut off, or too slow. The message says which."""


class LaunchRefused(Exception):
    """EC2 gave no machine. `refusals` are its answers, one a pool; the rules say what they mean."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        super().__init__("; ".join(f"{refusal.code}: {refusal.message}" for refusal in refusals))
        self.refusals = tuple(refusals)


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
    def close(
        self,
        batch: Batch,
        *,
        run: Run | None,
        queue: Queue,
        alerts: Sequence[Alert],
        records: Sequence[Record],
        replaced: Run | None = None,
    ) -> None:
        """Close the batch, store its run (if one is to be queued) and the queue, note its alerts, in one piece.

        `replaced` is the run whose place in the queue the new one took. Raises Conflict.
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
        pace: Pace | None = None,
        alerts: Sequence[Alert] = (),
        rests: Sequence[Rest] = (),
    ) -> Run:
        """The run as stored, with its new version; with `champion`, `baseline`, `pace`, its dataset's too.

        The bill of each of its machines that has ended is stored with it, once a machine. `rests` are pools that are to
        be left out from now on. Raises Conflict.
        """
        ...

    def rests(self) -> Sequence[Rest]:
        """Every pool that was ever left out; the last time of each."""
        ...

    def suspects(self) -> Mapping[str, datetime]:
        """Machines that were found without a run, and when first."""
        ...

    def suspect(self, machine_id: str, record: Record) -> None:
        """From the record's time on. The first time stays."""
        ...

    def cleared(self, machine_id: str) -> None: ...

    def champion(self, dataset: str) -> str | None: ...
    def baseline(self, dataset: str) -> str | None:
        """The last run of the dataset that published a model: what the next one's data is compared with."""
        ...

    def paces(self, recipe: str) -> Sequence[Pace]:
        """What the recipe's last whole run of each dataset took."""
        ...

    def bills(self, month: str) -> Sequence[Bill]:
        """Of the machines that ended in the month (yyyy-mm)."""
        ...

    def quotes(self) -> Sequence[Quote]: ...
    def keep_quote(self, quote: Quote) -> None: ...

    def tags_seen(self) -> frozenset[str] | None:
        """ "digest tag" of all that lay in the repository at the last look; None before the first one."""
        ...

    def keep_tags_seen(self, tags: frozenset[str]) -> None: ...

    def rollout(self) -> Rollout: ...
    def all_releases(self) -> Sequence[Release]:
        """Every release there ever was, by number."""
        ...

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
    def golden(self, run_id: str) -> tuple[GoldenRow, ...]:
        """The golden set of a model, as far as it can be asked; () when there is none. Raises ChangedGoldenSet."""
        ...

    def keys_of(self, run_id: str) -> Sequence[str]:
        """All that lies under runs/, models/, processed/ and logs/ for the run."""
        ...

    def write_card(self, run_id: str, card: Mapping[str, Any], page: str) -> None:
        """runs/<run id>/card.json and card.html."""
        ...

    def config(self, dataset: str, size: int) -> bytes | None:
        """The first `size` bytes of the dataset's tidegate.yaml as it is now; None when there is none."""
        ...


class Fleet(Protocol):
    def launch(self, run: Run) -> Machine:
        """What `run.ask` asks for: one machine a launch token, however often it is asked. Raises LaunchRefused."""
        ...

    def machines(self) -> Mapping[str, tuple[str, datetime]]:
        """Machine id -> (run id, launched at) of every machine of this stack that is pending or running."""
        ...

    def run_of(self, machine_id: str) -> str | None:
        """The run that a machine of this stack was launched for; None for any other machine."""
        ...

    def end(self, machine_id: str) -> None: ...


class Guard(Protocol):
    def set(self, machine_id: str, at: datetime) -> None:
        """AWS ends the machine at that time, even if nothing of ours runs any more. The first time set stays."""
        ...


class Account(Protocol):
    def preconditions(self, quota: Quota) -> Preconditions:
        """What the account has of what a first machine needs; what it does not tell is None."""
        ...


class Prices(Protocol):
    def spot(self, now: datetime) -> Mapping[tuple[str, str], float | None]:
        """Dollars an hour of every pool of the stack, by (machine type, zone); None = not told."""
        ...

    def on_demand(self, machine_type: str) -> float | None:
        """Dollars an hour in the stack's region; None = not told. Slow: its answer is kept."""
        ...


class Service(Protocol):
    def view(self) -> ServiceView: ...
    def deploy(self, release: Release) -> str:
        """Ask for the release, or the placeholder; return the deployment's id. Asked again, nothing changes."""
        ...

    def scale_to(self, count: int) -> None: ...


class Revisions(Protocol):
    def release_of(self, revision: str) -> int | None:
        """The release that a revision of the service (its ARN) carries; None for the placeholder."""
        ...


class Prober(Protocol):
    def ask(self, question: Question, addresses: Sequence[str]) -> Mapping[str, Proof]:
        """What each task proved, by its address (host:port). What could not be asked has NO_ANSWER, and says why."""
        ...


class Tasks(Protocol):
    """The tasks themselves, by address. Raises Unanswered."""

    def get(self, address: str, path: str) -> Reply: ...
    def post(self, address: str, path: str, body: Mapping[str, Any], seconds: float) -> Reply:
        """Waits for the answer so long and no longer."""
        ...


class FailedTasks(Protocol):
    def of(self, release: Release, task_id: str | None = None) -> FailedTask | None:
        """This task of the release, or the one that failed last, or one that runs; None when none is known.

        What is not there any more is said in it, never raised.
        """
        ...

    def crashed(self, release: Release) -> Sequence[Ended]:
        """Tasks of the release that ended by themselves: those that ECS still shows, about an hour back."""
        ...


class Looks(Protocol):
    def again(self, after: timedelta) -> None:
        """Look at the rollout again after so long."""
        ...


class Images(Protocol):
    """The service's ECR repository."""

    def pushed(self) -> Sequence[Push]:
        """Each tag of each image; the image that was pushed last comes first."""
        ...

    def manifest(self, digest: str) -> Mapping[str, Any] | None:
        """The manifest or index itself; None when it is not there (any more). Raises TryAgain."""
        ...

    def config(self, digest: str) -> Mapping[str, Any]:
        """An image's config blob: for which platform it was built. Raises TryAgain."""
        ...


class Scans(Protocol):
    def scan(self, image: str) -> Scan:
        """What the scan says of the image (a digest) now. Raises TryAgain."""
        ...


class Timer(Protocol):
    def settle(self, batch: Batch, after: timedelta) -> None:
        """Wake the batch's settling after so long; the message carries the batch's id and `last_drop_at`."""
        ...

    def launch(self, after: timedelta) -> None:
        """Look at the queue of runs again after so long."""
        ...

    def machine(self, machine_id: str, after: timedelta) -> None:
        """Look after so long whether a machine that was warned has said why it ends."""
        ...


class Notifier(Protocol):
    def tell(self, alert: Alert) -> None: ...
