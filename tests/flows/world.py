"""A whole Tidegate in memory: the flows over the fakes, and the events that reach them, one method an event."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from controlplane.domain.alarms import AlarmChange
from controlplane.domain.batches import Patience
from controlplane.domain.caps import Caps
from controlplane.domain.config import Config
from controlplane.domain.crashes import Ended
from controlplane.domain.drops import Columns, Drop
from controlplane.domain.gate import Policy
from controlplane.domain.images import Push
from controlplane.domain.manifests import Platform
from controlplane.domain.pools import SpotPolicy, pools_of
from controlplane.domain.runs import Outcome, Run
from controlplane.domain.scans import Scan, ScanPolicy
from controlplane.domain.shifting import Shift
from controlplane.flows.common import on_conflict_again, tell_people, then_tell
from controlplane.flows.crashing import Crashing
from controlplane.flows.decisions import Decisions
from controlplane.flows.incidents import Incidents
from controlplane.flows.ingest import Ingest
from controlplane.flows.launching import Launching, LaunchPolicy
from controlplane.flows.machines import Machines
from controlplane.flows.pushes import Pushes
from controlplane.flows.reconcile import Reconcile
from controlplane.flows.releasing import Releasing
from controlplane.flows.runbook import RunBook
from controlplane.flows.scanning import Scanning
from controlplane.flows.settling import Settling, TakingBack
from controlplane.flows.shifting import Shifting
from controlplane.flows.spending import Spending
from controlplane.flows.training import Training

from tests.flows.fakes import (
    FakeAccount,
    FakeBucket,
    FakeClock,
    FakeFailedTasks,
    FakeFleet,
    FakeGuard,
    FakeImages,
    FakeLedger,
    FakeNotifier,
    FakePrices,
    FakeProber,
    FakeScans,
    FakeService,
    FakeTimer,
    Ring,
)
from tests.flows.fuse import Fuse

GOOD = b"text,label\ngood,pos\nbad,neg\n"
BAD = b"text,label\n"
REPOSITORY = "tidegate/inference"
POOLS = pools_of(["c6i.large", "c5.large", "m6i.large", "m5.large", "m5a.large"], ["s-a", "s-b"])
PATIENCE = Patience(quiet=timedelta(seconds=60), max_wait=timedelta(seconds=900))
BAKE = timedelta(minutes=30)
POLICY = Policy(min_gain=0.002, max_p=0.05, max_class_loss=0.05, max_calibration_loss=0.02)


class World:
    def __init__(self, *, served_dataset: str = "default", max_concurrent: int = 2, max_attempts: int = 3) -> None:
        self.clock = FakeClock()
        self.ledger, self.bucket, self.images = FakeLedger(), FakeBucket(), FakeImages()
        self.fleet, self.timer = FakeFleet(self.clock), FakeTimer(self.clock)
        self.service, self.notifier = FakeService(), FakeNotifier()
        self.served_dataset, self.fuse = served_dataset, Fuse()
        self.guard, self.account, self.max_attempts = FakeGuard(), FakeAccount(), max_attempts
        spot = SpotPolicy(attempts=3, deadline=timedelta(hours=24))
        self.policy = LaunchPolicy(POOLS, max_concurrent, timedelta(hours=4), timedelta(seconds=120), spot)
        self.caps, self.prices = Caps(cost=0, hours=4, budget=0), FakePrices()
        self.config = Config()
        self.scans, self.scan_policy = FakeScans(), ScanPolicy.WAIT
        self.prober, self.failed_tasks = FakeProber(), FakeFailedTasks()

    # -- what people and AWS do -----------------------------------------------------------------------------------
    def drop(self, key: str = "raw/a.csv", content: bytes = GOOD) -> Drop:
        drop = self.bucket.put(key, content)
        self.on_data_dropped(drop)
        return drop

    def dropped_run(self, key: str = "raw/a.csv", content: bytes = GOOD) -> Run:
        """A drop that settled and got its machine."""
        before = set(self.ledger.runs)
        self.drop(key, content)
        self.wait(seconds=61)
        [run_id] = set(self.ledger.runs) - before
        return self.ledger.runs[run_id]

    def trainer_publishes(
        self, run: Run, *, champion: str | None = None, wins: int = 60, losses: int = 20, accuracy: float = 0.84
    ) -> None:
        metrics = {
            "rows": 1000,
            "majority_share": 0.5,
            "calibration_error": 0.03,
            "per_class_recall": {"neg": accuracy, "pos": accuracy},
            "accuracy": accuracy,
            "macro_f1": accuracy,
            "log_loss": 0.4,
        }
        comparison = champion and {
            "champion": champion,
            "metrics": {**metrics, "accuracy": 0.8, "per_class_recall": {"neg": 0.8, "pos": 0.8}},
            "both_right": 740,
            "only_challenger_right": wins,
            "only_champion_right": losses,
            "both_wrong": 260 - wins - losses,
        }
        rows = {"accepted": 10000, "rejected": 0, "duplicates": 0, "train": 8000, "validation": 1000, "test": 1000}
        self.bucket.files[run.run_id, "metrics.json"] = "abc"
        self.bucket.manifests[run.run_id] = {
            "contract": 1,
            "run_id": run.run_id,
            "dataset": run.dataset,
            "snapshot_digest": run.digest,
            "files": {"metrics.json": {"sha256": "abc", "bytes": 3}},
            "rows": rows,
            "metrics": metrics,
            "comparison": comparison,
            "labels": ["neg", "pos"],
            "recipe": "linear",
            "knobs": {},
            "seed": 17,
            "trainer_version": "local",
            "machine": {"id": run.machine, "type": "c6i.large", "zone": "eu-west-1a", "lifecycle": "spot"},
            "attempt": run.attempt,
            "resumed": None,
            "data_shift": None,
            "seconds": 30.0,
            "created_at": self.clock.now.isoformat(),
        }

    def trainer_says(self, run: Run, outcome: str, reason: str, *, cause: str | None = None) -> None:
        self.bucket.outcomes[run.run_id, run.attempt] = Outcome(outcome, reason, cause)

    def promoted(self, key: str = "raw/a.csv", content: bytes = GOOD) -> Run:
        """A run that became champion."""
        run = self.dropped_run(key, content)
        self.trainer_publishes(run, champion=self.ledger.champion(run.dataset))
        self.on_model_published(run.run_id)
        self.machine_ends(run)
        return self.ledger.runs[run.run_id]

    def machine_ends(self, run: Run) -> None:
        machine = self.ledger.runs[run.run_id].machine or run.machine
        assert machine
        self.fleet.gone.add(machine)
        self.on_machine_changed(machine, alive=False)

    def push(self, tag: str, *, told: bool = True, of: Push | None = None, **built: Any) -> Push:
        """A new image; or that of an earlier push under a new tag. `built` says what it is, see FakeImages."""
        push = Push(REPOSITORY, of.digest if of else f"sha256:{tag:0>64}".replace("v", "0"), tag)
        self.images.push(push, **built)
        if told:
            self.on_image_pushed(push)
        return push

    def wait(self, **time: float) -> None:
        """Time passes; timers ring when they are due, in order."""
        until = self.clock.now + timedelta(**time)
        while due := sorted((ring for ring in self.timer.rings if ring.due <= until), key=lambda ring: ring.due):
            self.timer.rings.remove(due[0])
            self.clock.now = max(self.clock.now, due[0].due)
            self.on_look_due() if due[0].look else self.on_batch_settled(due[0])
        self.clock.now = until

    # -- events, put together as the Lambdas do -------------------------------------------------------------------
    def on_data_dropped(self, drop: Drop) -> str:
        guard = self.fuse.guard
        return Ingest(
            ledger=guard(self.ledger),
            bucket=guard(self.bucket),
            timer=guard(self.timer),
            clock=self.clock,
            columns=Columns(),
            patience=PATIENCE,
            read_yaml=json.loads,
        ).take(drop)

    def on_batch_settled(self, ring: Ring) -> None:
        if ring.dataset is not None and ring.as_of is not None:
            self._training().settle(ring.dataset, ring.batch, ring.as_of, patience=PATIENCE)
        if ring.machine is not None:
            machine = ring.machine
            on_conflict_again(lambda: self._machines().not_heard_of(machine))
        self._launching().work_queue()
        self._tell()

    def on_machine_changed(self, machine: str, *, alive: bool) -> str:
        told = on_conflict_again(lambda: self._machines().changed(machine, alive=alive))
        self._launching().work_queue()
        self._tell()
        return told

    def on_machine_warned(self, machine: str) -> str:
        return self._machines().warned(machine)

    def on_attempt_ended(self, run_id: str, attempt: int) -> str:
        told = on_conflict_again(lambda: self._machines().said(run_id, attempt))
        self._launching().work_queue()
        self._tell()
        return told

    def on_model_published(self, run_id: str) -> None:
        run = self._training().model_published(run_id, policy=POLICY, served_dataset=self.served_dataset)
        if run is None:
            return
        if run.state == "PROMOTED" and run.dataset == self.served_dataset:
            self._releasing().propose(f"model {run_id}", model=run_id)
        self._launching().work_queue()
        self._tell()

    def on_image_pushed(self, push: Push) -> None:
        self._pushes().take(push)
        self._tell()

    def on_image_scanned(self, image: str, says: Scan | None = None) -> None:
        """The scan is over; `says` what ECR answers from now on."""
        if says:
            self.scans.scans[image] = says
        over_at = self.clock()
        then_tell(lambda: self._scanning().told(image, over_at), self._tell)()

    def on_deployment_changed(self, _: str | None = None) -> None:
        self._settling().settle()
        self._crashing().look()
        self._tell()

    on_look_due = on_deployment_changed

    def on_traffic_shifting(self, release: int | None = 2) -> Shift:
        guard = self.fuse.guard
        ledger, service, bucket = guard(self.ledger), guard(self.service), guard(self.bucket)
        return Shifting(ledger, service, service, bucket, guard(self.prober), guard(self.timer)).ask(
            f"revision {release}"
        )

    def on_person_decided(self, told: object, request_id: str = "request-1") -> dict[str, Any]:
        guard = self.fuse.guard
        answer = Decisions(guard(self.ledger), guard(self.images), self._releasing(), self.clock).take(told, request_id)
        self._tell()
        return answer

    def on_alarm_changed(self, change: AlarmChange) -> str:
        guard = self.fuse.guard
        told = Incidents(
            guard(self.ledger),
            guard(self.service),
            self._releasing(),
            self._taking_back(),
            guard(self.failed_tasks),
            self.clock,
            4,
            BAKE,
            "dashboard",
        ).answer(change)
        self._tell()
        return told

    def on_reconcile_due(self) -> list[str]:
        guard = self.fuse.guard
        reconcile = Reconcile(
            ledger=guard(self.ledger),
            fleet=guard(self.fleet),
            pushes=self._pushes(),
            training=self._training(),
            launching=self._launching(),
            machines=self._machines(),
            releasing=self._releasing(),
            settling=self._settling(),
            crashing=self._crashing(),
            clock=self.clock,
            patience=PATIENCE,
            policy=POLICY,
            served_dataset=self.served_dataset,
        )
        return then_tell(reconcile.look, self._tell)()

    def _book(self) -> RunBook:
        return RunBook(self.fuse.guard(self.ledger), self.fuse.guard(self.bucket), self.clock, "data")

    def _spending(self) -> Spending:
        return Spending(self.fuse.guard(self.ledger), self.fuse.guard(self.prices), self.clock, self.caps)

    def _launching(self) -> Launching:
        guard = self.fuse.guard
        return Launching(
            guard(self.ledger),
            guard(self.bucket),
            guard(self.fleet),
            guard(self.guard),
            guard(self.account),
            guard(self.timer),
            self.clock,
            lambda: 0.0,
            self._book(),
            self._spending(),
            self.policy,
        )

    def _machines(self) -> Machines:
        guard = self.fuse.guard
        return Machines(
            guard(self.ledger),
            guard(self.bucket),
            guard(self.fleet),
            guard(self.timer),
            self.clock,
            self._book(),
            self.max_attempts,
        )

    def _training(self) -> Training:
        guard = self.fuse.guard
        return Training(
            guard(self.ledger),
            guard(self.bucket),
            guard(self.fleet),
            guard(self.timer),
            self.clock,
            self._book(),
            self._spending(),
            self.config,
        )

    def _releasing(self) -> Releasing:
        return Releasing(self.fuse.guard(self.ledger), self.fuse.guard(self.service), self.clock, "service")

    def _taking_back(self) -> TakingBack:
        guard = self.fuse.guard
        return TakingBack(guard(self.failed_tasks), self._releasing(), self.clock)

    def _settling(self) -> Settling:
        guard = self.fuse.guard
        return Settling(
            ledger=guard(self.ledger),
            service=guard(self.service),
            bucket=guard(self.bucket),
            prober=guard(self.prober),
            looks=guard(self.timer),
            taking_back=self._taking_back(),
            releasing=self._releasing(),
            clock=self.clock,
            longest=timedelta(minutes=30),
        )

    def _crashing(self) -> Crashing:
        guard = self.fuse.guard
        return Crashing(guard(self.ledger), guard(self.failed_tasks), self._releasing(), self.clock, BAKE)

    def _pushes(self) -> Pushes:
        guard = self.fuse.guard
        platform = Platform("X86_64")
        return Pushes(
            guard(self.ledger), guard(self.images), self._releasing(), self._scanning(), REPOSITORY, "v.+", platform
        )

    def _scanning(self) -> Scanning:
        return Scanning(
            ledger=self.fuse.guard(self.ledger),
            scans=self.fuse.guard(self.scans),
            releasing=self._releasing(),
            clock=self.clock,
            policy=self.scan_policy,
            highest="HIGH",
            patience=timedelta(minutes=15),
            repository=REPOSITORY,
        )

    def _tell(self) -> int:
        return tell_people(self.fuse.guard(self.ledger), self.fuse.guard(self.notifier), self.clock)

    # -- what came of it ------------------------------------------------------------------------------------------
    @property
    def subjects(self) -> list[str]:
        return [alert.subject for alert in self.notifier.mails]

    @property
    def run(self) -> Run:
        [run] = self.ledger.runs.values()
        return run


def crash(world: World, number: int, *, tasks: int = 2) -> None:
    """Tasks of the release, each of which was up for 10 s, end by themselves now."""
    known = world.failed_tasks.ended.setdefault(number, [])
    for _ in range(tasks):
        known.append(Ended(f"t{number}-c{len(known)}", world.clock.now, timedelta(seconds=10), 7))


def alarm(name: str, at: datetime, state: str = "ALARM", previous: str = "OK") -> AlarmChange:
    return AlarmChange(f"tidegate-{name}", state, previous, "over the threshold", at)
