"""Every port in memory, with real behaviour: versions conflict, tokens repeat, deployments roll and fall back.

Nothing but the control plane itself is imported, so that flows are tested where no AWS library is installed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from controlplane.domain.account import Preconditions, Quota
from controlplane.domain.alarms import Answer
from controlplane.domain.alerts import Alert
from controlplane.domain.batches import Batch, RefusedDrop
from controlplane.domain.drops import Drop, Finding
from controlplane.domain.estimates import Pace
from controlplane.domain.failures import FailedTask
from controlplane.domain.images import Push
from controlplane.domain.models import BadManifest
from controlplane.domain.money import Bill, bills
from controlplane.domain.pools import Ask, Pool, Rest
from controlplane.domain.prices import Quote
from controlplane.domain.probes import GoldenRow, Proof, Question, Verdict
from controlplane.domain.refusals import Refusal
from controlplane.domain.releases import Deployment, Release, Rollout, RunningTask, ServiceView
from controlplane.domain.runs import Machine, Outcome, Queue, Run
from controlplane.domain.scans import Scan, ScanState, Vulnerability
from controlplane.ports import Conflict, LaunchRefused, Record, TryAgain

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SENDING = timedelta(minutes=1)
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class FakeClock:
    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **time: float) -> None:
        self.now += timedelta(**time)


@dataclass
class FakeLedger:
    """Refuses what DynamoDB's conditions refuse: a batch, run, queue or rollout that was changed meanwhile."""

    batches: dict[str, Batch] = field(default_factory=dict)
    drops: dict[str, str] = field(default_factory=dict)
    accepted: dict[str, dict[str, Drop]] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    runs_queue: Queue = field(default_factory=Queue)
    champions: dict[str, str] = field(default_factory=dict)
    baselines: dict[str, str] = field(default_factory=dict)
    pool_rests: dict[tuple[str, Pool], Rest] = field(default_factory=dict)
    suspected: dict[str, datetime] = field(default_factory=dict)
    the_paces: dict[tuple[str, str], Pace] = field(default_factory=dict)
    the_bills: dict[str, Bill] = field(default_factory=dict)
    the_quotes: dict[str, Quote] = field(default_factory=dict)
    the_tags: frozenset[str] | None = None
    the_rollout: Rollout = field(default_factory=Rollout)
    releases: dict[int, Release] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    noted: dict[str, Alert] = field(default_factory=dict)
    to_send: dict[str, tuple[Alert, datetime | None]] = field(default_factory=dict)
    history: list[Record] = field(default_factory=list)

    def batch(self, dataset: str) -> Batch | None:
        return self.batches.get(dataset)

    def open_batches(self) -> Sequence[Batch]:
        return [self.batches[dataset] for dataset in sorted(self.batches)]

    def batch_of(self, drop: Drop) -> str | None:
        return self.drops.get(drop.drop_id)

    def take_in(self, drop: Drop, batch: Batch, before: Batch | None, record: Record) -> None:
        self._must(drop.drop_id not in self.drops and self.batches.get(batch.dataset) == before)
        self.drops[drop.drop_id] = batch.batch_id
        self.batches[batch.dataset] = batch
        if record.now == "ACCEPTED":
            self.accepted.setdefault(drop.dataset, {})[drop.drop_id] = drop
        self.history.append(record)

    def accepted_drops(self, dataset: str) -> Sequence[Drop]:
        return list(self.accepted.get(dataset, {}).values())

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
        self._must(self.batches.get(batch.dataset) == batch)
        changed = [each for each in (run, replaced) if each]
        self._must(all(self._run_version(each) == each.version for each in changed))
        self._must(run is None or self.runs_queue.version == queue.version)
        for each in changed:
            self.runs[each.run_id] = replace(each, version=each.version + 1)
        if run:
            self.runs_queue = replace(queue, version=queue.version + 1)
        del self.batches[batch.dataset]
        self._note(alerts)
        self.history += records

    def run(self, run_id: str) -> Run | None:
        return self.runs.get(run_id)

    def queue(self) -> Queue:
        return self.runs_queue

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
        self._must(self._run_version(run) == run.version)
        self._must(queue is None or self.runs_queue.version == queue.version)
        self.runs[run.run_id] = replace(run, version=run.version + 1)
        if queue is not None:
            self.runs_queue = replace(queue, version=queue.version + 1)
        if champion is not None:
            self.champions[run.dataset] = champion
        if baseline is not None:
            self.baselines[run.dataset] = baseline
        self.pool_rests.update({(rest.lifecycle, rest.pool): rest for rest in rests})
        if pace is not None:
            self.the_paces[pace.recipe, pace.dataset] = pace
        self.the_bills.update({bill.machine: bill for bill in bills(run.run_id, run.stints)})
        self._note(alerts)
        self.history.append(record)
        return self.runs[run.run_id]

    def rests(self) -> Sequence[Rest]:
        return list(self.pool_rests.values())

    def suspects(self) -> Mapping[str, datetime]:
        return dict(self.suspected)

    def suspect(self, machine_id: str, record: Record) -> None:
        if machine_id not in self.suspected:
            self.suspected[machine_id] = record.at
            self.history.append(record)

    def cleared(self, machine_id: str) -> None:
        self.suspected.pop(machine_id, None)

    def champion(self, dataset: str) -> str | None:
        return self.champions.get(dataset)

    def baseline(self, dataset: str) -> str | None:
        return self.baselines.get(dataset)

    def paces(self, recipe: str) -> Sequence[Pace]:
        return [pace for (of, _), pace in sorted(self.the_paces.items()) if of == recipe]

    def bills(self, month: str) -> Sequence[Bill]:
        return [bill for _, bill in sorted(self.the_bills.items()) if bill.month == month]

    def quotes(self) -> Sequence[Quote]:
        return [quote for _, quote in sorted(self.the_quotes.items())]

    def keep_quote(self, quote: Quote) -> None:
        self.the_quotes[quote.machine_type] = quote

    def tags_seen(self) -> frozenset[str] | None:
        return self.the_tags

    def keep_tags_seen(self, tags: frozenset[str]) -> None:
        self.the_tags = tags

    def rollout(self) -> Rollout:
        return self.the_rollout

    def all_releases(self) -> Sequence[Release]:
        return [self.releases[number] for number in sorted(self.releases)]

    def save_rollout(
        self, rollout: Rollout, changed: Sequence[Release], records: Sequence[Record], alerts: Sequence[Alert] = ()
    ) -> Rollout:
        self._must(self.the_rollout.version == rollout.version)
        self.the_rollout = replace(rollout, version=rollout.version + 1)
        self.releases.update({release.number: release for release in changed})
        self._note(alerts)
        self.history += records
        return self.the_rollout

    def note(self, alerts: Sequence[Alert], record: Record) -> None:
        if self._note(alerts):
            self.history.append(record)

    def decided(self, incident: str, answer: Answer) -> Answer:
        return self.answers.setdefault(incident, answer)

    def is_noted(self, alert_id: str) -> bool:
        return alert_id in self.noted

    def unsent(self) -> Sequence[Alert]:
        return [self.to_send[alert_id][0] for alert_id in sorted(self.to_send)]

    def claim(self, alert: Alert, now: datetime) -> bool:
        if alert.alert_id not in self.to_send:
            return False
        claimed = self.to_send[alert.alert_id][1]
        if claimed is not None and claimed >= now - SENDING:
            return False
        self.to_send[alert.alert_id] = (alert, now)
        return True

    def sent(self, alert: Alert) -> None:
        self.to_send.pop(alert.alert_id, None)

    def _note(self, alerts: Sequence[Alert]) -> bool:
        new = [alert for alert in alerts if alert.alert_id not in self.noted]
        for alert in new:
            self.noted[alert.alert_id] = alert
            self.to_send[alert.alert_id] = (alert, None)
        return bool(new)

    def _run_version(self, run: Run) -> int:
        return self.runs[run.run_id].version if run.run_id in self.runs else 0

    @staticmethod
    def _must(unchanged: bool) -> None:
        if not unchanged:
            raise Conflict("somebody else wrote first")


@dataclass
class FakeBucket:
    """Versioned objects under raw/; what the trainer writes is put in by the test."""

    objects: dict[str, list[tuple[str, str, bytes]]] = field(default_factory=dict)
    reports: dict[str, list[Finding]] = field(default_factory=dict)
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    manifests: dict[str, Any] = field(default_factory=dict)
    files: dict[tuple[str, str], str] = field(default_factory=dict)
    outcomes: dict[tuple[str, int], Outcome] = field(default_factory=dict)
    cards: dict[str, tuple[dict[str, Any], str]] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    puts: int = 0

    def put(self, key: str, content: bytes) -> Drop:
        """Upload, and return what the event would tell."""
        self.puts += 1
        etag, version = hashlib.md5(content, usedforsecurity=False).hexdigest(), f"version-{self.puts}"
        self.objects.setdefault(key, []).append((version, etag, content))
        return Drop(key, etag, len(content), version)

    def delete(self, key: str) -> None:
        del self.objects[key]

    def head(self, drop: Drop, size: int) -> bytes | None:
        for version, etag, content in reversed(self.objects.get(drop.key, [])):
            if drop.version_id in {None, version}:
                return content[:size] if etag == drop.etag else None
        return None

    def present(self, dataset: str) -> Iterable[tuple[str, str]]:
        return [
            (key, versions[-1][1])
            for key, versions in sorted(self.objects.items())
            if Drop(key, "", 0).dataset == dataset
        ]

    def config(self, dataset: str, size: int) -> bytes | None:
        places = [f"raw/{dataset}/tidegate.yaml", *(["raw/tidegate.yaml"] if dataset == "default" else [])]
        found = [self.objects[key][-1][2][:size] for key in places if key in self.objects]
        return found[0] if found else None

    def quarantine(self, drop: Drop, finding: Finding, at: datetime) -> RefusedDrop:
        assert at.tzinfo is not None, "a time without a zone says nothing"
        self.reports[drop.drop_id] = [finding]
        return RefusedDrop(drop.drop_id, drop.key, finding.sentence)

    def write_spec(self, run_id: str, spec: Mapping[str, Any]) -> None:
        self.specs[run_id] = json.loads(json.dumps(spec))

    def read_spec(self, run_id: str) -> dict[str, Any]:
        return dict(self.specs.get(run_id, {}))

    def manifest(self, run_id: str) -> dict[str, Any] | None:
        told = self.manifests.get(run_id)
        if isinstance(told, str):
            raise BadManifest("the manifest is not JSON")
        return told

    def is_published(self, run_id: str) -> bool:
        return run_id in self.manifests

    def sha256_of(self, run_id: str, path: str) -> str | None:
        return self.files.get((run_id, path))

    def outcome(self, run_id: str, attempt: int) -> Outcome | None:
        return self.outcomes.get((run_id, attempt))

    def golden(self, run_id: str) -> tuple[GoldenRow, ...]:
        return (GoldenRow("a warm film", "pos"),) if run_id in self.manifests else ()

    def keys_of(self, run_id: str) -> Sequence[str]:
        return sorted(key for key in self.keys if key.split("/")[1] == run_id)

    def write_card(self, run_id: str, card: Mapping[str, Any], page: str) -> None:
        self.cards[run_id] = (json.loads(json.dumps(card)), page)


@dataclass
class FakePrices:
    """Two zones; what a test takes out is not told. `asked` counts the slow questions."""

    spots: dict[tuple[str, str], float | None] = field(
        default_factory=lambda: {("c6i.large", "zone of s-a"): 0.04, ("c6i.large", "zone of s-b"): 0.05}
    )
    lists: dict[str, float] = field(default_factory=lambda: {"c6i.large": 0.1})
    asked: list[str] = field(default_factory=list)

    def spot(self, now: datetime) -> Mapping[tuple[str, str], float | None]:
        assert now.tzinfo is not None
        return self.spots

    def on_demand(self, machine_type: str) -> float | None:
        self.asked.append(machine_type)
        return self.lists.get(machine_type)


def refused(code: str, message: str = "none here", *pools: Pool) -> LaunchRefused:
    """One answer of EC2 to all pools, or to each of these."""
    return LaunchRefused([Refusal(code, message, pool) for pool in pools] or [Refusal(code, message)])


A_POOL = Pool("c6i.large", "s-a")
NO_CAPACITY = refused("InsufficientInstanceCapacity")
BAD_REQUEST = refused("InvalidAMIID.NotFound", "no such image")


@dataclass
class FakeFleet:
    """EC2 Fleet: one answer a client token, good or bad; the same token with another question is refused.

    `refusals` are the answers to the next new tokens; `empty` are (lifecycle, pool) without a machine.
    """

    clock: FakeClock
    refusals: list[Exception] = field(default_factory=list)
    empty: set[tuple[str, Pool]] = field(default_factory=set)
    answers: dict[str, Machine | Exception] = field(default_factory=dict)
    asked: dict[str, Ask] = field(default_factory=dict)
    launched: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def launch(self, run: Run) -> Machine:
        token = run.launch_token
        if self.asked.setdefault(token, run.ask) != run.ask:
            raise refused("IdempotentParameterMismatch", "the token came with another question")
        if token not in self.answers:
            self.answers[token] = self.refusals.pop(0) if self.refusals else self._answer(run)
        answer = self.answers[token]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer(self, run: Run) -> Machine | Exception:
        """The first pool that has one."""
        for pool in run.ask.pools:
            if (run.ask.lifecycle, pool) not in self.empty:
                return self.boot(run.run_id, pool, run.ask.lifecycle)
        return refused("InsufficientInstanceCapacity", "none here", *run.ask.pools)

    def boot(self, run_id: str, pool: Pool = A_POOL, lifecycle: str = "spot") -> Machine:
        name = f"i-{len(self.launched) + 1}"
        machine = Machine(name, pool.machine_type, f"zone of {pool.subnet}", lifecycle, pool.subnet)
        self.launched[machine.machine_id] = (run_id, self.clock())
        return machine

    def machines(self) -> Mapping[str, tuple[str, datetime]]:
        return {name: told for name, told in self.launched.items() if name not in self.gone}

    def run_of(self, machine_id: str) -> str | None:
        return self.launched[machine_id][0] if machine_id in self.launched else None

    def end(self, machine_id: str) -> None:
        assert machine_id in self.launched, "IAM allows to end only the stack's own machines"
        self.gone.add(machine_id)


@dataclass
class FakeGuard:
    schedules: dict[str, datetime] = field(default_factory=dict)

    def set(self, machine_id: str, at: datetime) -> None:
        self.schedules.setdefault(machine_id, at)


@dataclass
class FakeAccount:
    """An account that has all that it needs, until a test says otherwise."""

    has_spot_role: bool | None = True
    vcpus: float | None = 64
    looked_at: int = 0

    def preconditions(self, quota: Quota) -> Preconditions:
        self.looked_at += 1
        return Preconditions(self.has_spot_role, quota, self.vcpus)


@dataclass
class FakeService:
    """ECS: the newest deployment is PRIMARY; the circuit breaker makes one more, of the release that ran before.

    `up` are the tasks of the newest that run already, beside those of the one that ran before.
    """

    desired: int = 2
    deployments: list[Deployment] = field(default_factory=lambda: [Deployment("d0", None, True, "COMPLETED")])
    images: dict[int | None, str] = field(default_factory=lambda: {None: "sha256:placeholder"})
    running: int | None = None
    up: int = 0
    made: int = 0

    def view(self) -> ServiceView:
        release = self.primary.release
        count = self.desired if self.running == release else self.up
        tasks = tuple(
            RunningTask(f"t{release}-{number}", f"10.77.{release}.{number}:8080", self.images[release])
            for number in range(count)
        )
        return ServiceView(tuple(self.deployments), tasks, self.desired, 0 if self.running == release else self.desired)

    @property
    def primary(self) -> Deployment:
        return self.deployments[0]

    def deploy(self, release: Release) -> str:
        if self.primary.release != release.number:
            assert release.image
            self.images[release.number] = release.image
            self._start(release.number)
        return self.primary.deployment_id

    def release_of(self, revision: str) -> int | None:
        return None if revision == "revision None" else int(revision.removeprefix("revision "))

    def scale_to(self, count: int) -> None:
        self.desired = count

    def completes(self) -> str:
        """The primary deployment gets steady; return its id."""
        self.deployments = [replace(self.primary, rollout="COMPLETED")]
        self.running, self.up = self.primary.release, 0
        return self.primary.deployment_id

    def breaks(self, why: str = "tasks failed to start") -> str:
        """The circuit breaker trips: the deployment fails, and ECS goes back. Return the id of the one that failed."""
        fallen = replace(self.primary, rollout="FAILED", reason=why)
        self.deployments = [fallen, *self.deployments[1:]]
        self._start(self.running)
        return fallen.deployment_id

    def _start(self, release: int | None) -> None:
        self.made, self.up = self.made + 1, 0
        older = [replace(deployment, is_primary=False) for deployment in self.deployments]
        self.deployments = [Deployment(f"d{self.made}", release, True, "IN_PROGRESS"), *older]


@dataclass
class FakeProber:
    """Every task agrees, until a test says otherwise of a release."""

    says: dict[int, Proof] = field(default_factory=dict)
    asked: list[tuple[Question, tuple[str, ...]]] = field(default_factory=list)

    def ask(self, question: Question, addresses: Sequence[str]) -> Mapping[str, Proof]:
        self.asked.append((question, tuple(addresses)))
        return dict.fromkeys(addresses, self.says.get(question.release, Proof(Verdict.AGREES, "all agree")))


@dataclass
class FakeFailedTasks:
    """What is known of failed tasks, by release."""

    known: dict[int, FailedTask] = field(default_factory=dict)

    def of(self, release: Release, task_id: str | None = None) -> FailedTask | None:
        task = self.known.get(release.number)
        return replace(task, task_id=task_id or task.task_id) if task else None


@dataclass
class FakeImages:
    """ECR: a tag that moves leaves its old image; the images that were pushed last come first, whatever their tags.

    `silent`: it does not answer now.
    """

    pushes: list[Push] = field(default_factory=list)
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    silent: bool = False

    def push(
        self, push: Push, *, architecture: str = "amd64", index: Sequence[str] = (), kind: str = OCI_CONFIG
    ) -> None:
        """An image, or an index of images of these architectures, or (`kind`) another artifact."""
        self.pushes = [known for known in self.pushes if known.tag != push.tag]
        order = list(self.manifests)
        self.manifests.setdefault(push.digest, self._index(push, index) if index else self._image(architecture, kind))
        self.pushes.append(push)
        order += [digest for digest in self.manifests if digest not in order]
        self.pushes.sort(key=lambda known: order.index(known.digest), reverse=True)

    def _image(self, architecture: str, kind: str = OCI_CONFIG) -> dict[str, Any]:
        config = f"sha256:{architecture:c>64}"
        self.configs[config] = {"os": "linux", "architecture": architecture}
        return {"mediaType": OCI_MANIFEST, "config": {"mediaType": kind, "digest": config}, "layers": []}

    def _index(self, push: Push, architectures: Sequence[str]) -> dict[str, Any]:
        children = []
        for architecture in architectures:
            child = child_digest(push, architecture)
            self.manifests[child] = self._image(architecture)
            os = "unknown" if architecture == "unknown" else "linux"
            children.append({"digest": child, "platform": {"os": os, "architecture": architecture}})
        return {"mediaType": OCI_INDEX, "manifests": children}

    def pushed(self) -> Sequence[Push]:
        return list(self.pushes)

    def manifest(self, digest: str) -> Mapping[str, Any] | None:
        self._answer()
        return self.manifests.get(digest)

    def config(self, digest: str) -> Mapping[str, Any]:
        self._answer()
        return self.configs[digest]

    def _answer(self) -> None:
        if self.silent:
            raise TryAgain("ECR does not answer")


def child_digest(index: Push, architecture: str) -> str:
    """Of the manifest that an index of FakeImages holds for the architecture."""
    return "sha256:" + hashlib.sha256(f"{index.digest} {architecture}".encode()).hexdigest()


@dataclass
class FakeScans:
    """ECR's scan: every image is clean at once, until a test says otherwise."""

    scans: dict[str, Scan] = field(default_factory=dict)
    otherwise: Scan = field(default_factory=lambda: Scan(ScanState.COMPLETE))
    silent: bool = False

    def scan(self, image: str) -> Scan:
        if self.silent:
            raise TryAgain("ECR does not answer")
        return self.scans.get(image, self.otherwise)


PENDING = Scan(ScanState.PENDING)
CLEAN = Scan(ScanState.COMPLETE)
FOUND = Scan(ScanState.COMPLETE, found=(Vulnerability("CVE-1", "CRITICAL", "zlib 1.2"),), counts={"CRITICAL": 1})


@dataclass(frozen=True)
class Ring:
    """A delayed message; no dataset and no machine: only look at the queue of runs. `look`: at the rollout."""

    due: datetime
    dataset: str | None = None
    batch: str = ""
    as_of: datetime | None = None
    machine: str | None = None
    look: bool = False


@dataclass
class FakeTimer:
    clock: FakeClock
    rings: list[Ring] = field(default_factory=list)

    def settle(self, batch: Batch, after: timedelta) -> None:
        self.rings.append(Ring(self.clock() + after, batch.dataset, batch.batch_id, batch.last_drop_at))

    def launch(self, after: timedelta) -> None:
        self.rings.append(Ring(self.clock() + after))

    def machine(self, machine_id: str, after: timedelta) -> None:
        self.rings.append(Ring(self.clock() + after, machine=machine_id))

    def again(self, after: timedelta) -> None:
        self.rings.append(Ring(self.clock() + after, look=True))


@dataclass
class FakeNotifier:
    mails: list[Alert] = field(default_factory=list)

    def tell(self, alert: Alert) -> None:
        self.mails.append(alert)
