"""A whole Tidegate in memory: the flows over the fakes, and the events that reach them, one method an event."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from controlplane.domain.alarms import AlarmChange
from controlplane.domain.caps import Caps
from controlplane.domain.config import Config
from controlplane.domain.crashes import Ended
from controlplane.domain.drops import Drop
from controlplane.domain.images import Push
from controlplane.domain.pools import SpotPolicy, pools_of
from controlplane.domain.runs import Outcome, Run, RunState
from controlplane.domain.scans import Scan, ScanPolicy
from controlplane.domain.shifting import Shift
from controlplane.flows.common import on_conflict_again, tell_people, then_tell
from controlplane.flows.launching import LaunchPolicy

from tests.flows import wired
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
from tests.flows.manifests import manifest_of

GOOD = b"text,label\ngood,pos\nbad,neg\n"
OTHER = b"text,label\ngreat,pos\nawful,neg\n"
BAD = b"text,label\n"
POOLS = pools_of(["c6i.large", "c5.large", "m6i.large", "m5.large", "m5a.large"], ["s-a", "s-b"])


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
        self.bucket.files[run.run_id, "metrics.json"] = "abc"
        self.bucket.manifests[run.run_id] = manifest_of(
            run, at=self.clock.now, champion=champion, wins=wins, losses=losses, accuracy=accuracy
        )

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
        push = Push(wired.REPOSITORY, of.digest if of else f"sha256:{tag:0>64}".replace("v", "0"), tag)
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
        return wired.ingest(self).take(drop)

    def on_batch_settled(self, ring: Ring) -> None:
        if ring.dataset is not None and ring.as_of is not None:
            wired.training(self).settle(ring.dataset, ring.batch, ring.as_of, patience=wired.PATIENCE)
        if ring.machine is not None:
            machine = ring.machine
            on_conflict_again(lambda: wired.machines(self).not_heard_of(machine))
        wired.launching(self).work_queue()
        self._tell()

    def on_machine_changed(self, machine: str, *, alive: bool) -> str:
        told = on_conflict_again(lambda: wired.machines(self).changed(machine, alive=alive))
        wired.launching(self).work_queue()
        self._tell()
        return told

    def on_machine_warned(self, machine: str) -> str:
        return wired.machines(self).warned(machine)

    def on_attempt_ended(self, run_id: str, attempt: int) -> str:
        told = on_conflict_again(lambda: wired.machines(self).said(run_id, attempt))
        wired.launching(self).work_queue()
        self._tell()
        return told

    def on_model_published(self, run_id: str) -> None:
        run = wired.training(self).model_published(run_id, policy=wired.POLICY, served_dataset=self.served_dataset)
        if run is None:
            return
        if run.state == "PROMOTED" and run.dataset == self.served_dataset:
            wired.releasing(self).propose(f"model {run_id}", model=run_id)
        wired.launching(self).work_queue()
        self._tell()

    def on_image_pushed(self, push: Push) -> None:
        wired.pushes(self).take(push)
        self._tell()

    def on_image_scanned(self, image: str, says: Scan | None = None) -> None:
        """The scan is over; `says` what ECR answers from now on."""
        if says:
            self.scans.scans[image] = says
        over_at = self.clock()
        then_tell(lambda: wired.scanning(self).told(image, over_at), self._tell)()

    def on_deployment_changed(self, _: str | None = None) -> None:
        wired.settling(self).settle()
        wired.crashing(self).look()
        self._tell()

    on_look_due = on_deployment_changed

    def on_traffic_shifting(self, release: int | None = 2) -> Shift:
        return wired.shifting(self).ask(f"revision {release}")

    def on_person_decided(self, told: object, request_id: str = "request-1") -> dict[str, Any]:
        answer = wired.decisions(self).take(told, request_id)
        self._tell()
        return answer

    def on_alarm_changed(self, change: AlarmChange) -> str:
        told = wired.incidents(self).answer(change)
        self._tell()
        return told

    def on_reconcile_due(self) -> list[str]:
        return then_tell(wired.reconcile(self).look, self._tell)()

    def _tell(self) -> int:
        return tell_people(self.fuse.guard(self.ledger), self.fuse.guard(self.notifier), self.clock)

    # -- what came of it ------------------------------------------------------------------------------------------
    @property
    def subjects(self) -> list[str]:
        return [alert.subject for alert in self.notifier.mails]

    def state_of(self, run: Run) -> RunState:
        return self.ledger.runs[run.run_id].state

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
