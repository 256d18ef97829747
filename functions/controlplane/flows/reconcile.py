"""Every five minutes: what best-effort events missed, compared both ways, desired with actual."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..domain import alerts, gate
from ..domain.batches import Patience
from ..domain.runs import Run, RunState
from ..ports import Fleet, Ledger, Record
from .common import Clock
from .crashing import Crashing
from .launching import Launching
from .machines import NOTHING, Machines
from .pushes import Pushes
from .releasing import Releasing
from .settling import Settling
from .training import Training

GRACE = timedelta(minutes=3)
BETWEEN_TWO_LOOKS = timedelta(minutes=4)  # a machine is ended when it is found without a run twice, so far apart


@dataclass(frozen=True)
class Reconcile:
    ledger: Ledger
    fleet: Fleet
    pushes: Pushes
    training: Training
    launching: Launching
    machines: Machines
    releasing: Releasing
    settling: Settling
    crashing: Crashing
    clock: Clock
    patience: Patience
    policy: gate.Policy
    served_dataset: str

    def look(self) -> list[str]:
        """Return what was found and done, a line each. One part that fails does not keep the others from being done."""
        found: list[str] = []
        faults: list[Exception] = []
        for part in (
            self._batches,
            self._runs,
            self._limits,
            self._bills,
            self._orphans,
            self._guards,
            self._champion,
            self.pushes.missed,
            self.pushes.scanning.look,
            self.settling.settle,
            self.crashing.look,
            self._serving,
            self._launches,
        ):
            try:
                found += part()
            except Exception as fault:  # noqa: BLE001  all of them leave together, below
                faults.append(fault)
        if faults:
            raise ExceptionGroup("; ".join(found) or "nothing else was found", faults)
        return found

    def _launches(self) -> list[str]:
        return [f"launched {run_id}" for run_id in self.launching.work_queue()]

    def _champion(self) -> list[str]:
        """A champion whose release was never proposed, because a function died in between."""
        champion = self.ledger.champion(self.served_dataset)
        return self.releasing.propose(f"model {champion}", model=champion) if champion else []

    def _batches(self) -> list[str]:
        """Batches whose delayed message never came."""
        found = []
        for batch in self.ledger.open_batches():
            if batch.settles_in(self.clock(), self.patience) < -GRACE:
                told = self.training.settle(batch.dataset, batch.batch_id, batch.last_drop_at, patience=self.patience)
                found.append(f"{batch.batch_id}: {told}")
        return found

    def _runs(self) -> list[str]:
        """Runs without a machine go on or end."""
        found, now = [], self.clock()
        alive = self.fleet.machines()
        for run_id, _ in self.ledger.queue().active:
            run = self.ledger.run(run_id)
            if run is None:
                continue
            told = self._published(run_id)
            if not told and run.machine and run.machine not in alive and _older(run.claimed_at, now):
                told = self.machines.ended(run)
            elif not told and run.machine in alive:
                told = self.machines.runs(run)
            if told and told != NOTHING:
                found.append(f"run {run_id}: {told}")
        return found

    def _limits(self) -> list[str]:
        """Trainers that do not stop where they should: one of somebody else, or one that hangs."""
        found, alive = [], self.fleet.machines()
        for run_id, _ in self.ledger.queue().active:
            run = self.ledger.run(run_id)
            if run and run.machine and run.machine in alive and (why := self.launching.spending.overrun(run)):
                self.fleet.end(run.machine)
                why = f"{why}, and its trainer went on; the machine {run.machine} was ended."
                to_do = (
                    "Let the trainer hold the limits of its spec; or raise what was used up, and drop the data again."
                )
                self.launching.book.end(run, RunState.FAILED, why, to_do=to_do)
                found.append(f"run {run_id}: {why}")
        return found

    def _bills(self) -> list[str]:
        """Machines whose end was never told: what they cost would never be counted."""
        found, now = [], self.clock()
        alive, queue = self.fleet.machines(), self.ledger.queue()
        for run_id, _ in (*queue.active, *queue.billing):
            run = self.ledger.run(run_id)
            if run:
                found += [self.machines.gone(run, machine) for machine in _unheard_of(run, alive, now)[:1]]
        return found

    def _orphans(self) -> list[str]:
        """Machines of this stack without a run, and machines that outlived their timer: looked at twice, then ended."""
        found, now = [], self.clock()
        alive, suspects = self.fleet.machines(), self.ledger.suspects()
        for machine, (run_id, launched_at) in alive.items():
            run = self.ledger.run(run_id)
            why = _why_orphaned(machine, run, launched_at, now, self.launching.policy.longest)
            if not why:
                if machine in suspects:
                    self.ledger.cleared(machine)
            elif machine not in suspects:
                self.ledger.suspect(machine, Record(now, f"machine {machine}", "running", "SUSPECTED", why))
                found.append(f"suspected {machine}: {why}")
            elif now - suspects[machine] >= BETWEEN_TWO_LOOKS:
                record = Record(now, f"machine {machine}", "running", "ENDED", why)
                self.ledger.note([alerts.machine_orphaned(machine, run_id, why)], record)
                self.fleet.end(machine)
                found.append(f"ended {machine}: {why}")
        for machine in suspects.keys() - alive.keys():
            self.ledger.cleared(machine)
        return found

    def _guards(self) -> list[str]:
        """Every machine that a run is on has its guard; one that has it keeps it."""
        for machine, (run_id, launched_at) in self.fleet.machines().items():
            run = self.ledger.run(run_id)
            in_time = launched_at + self.launching.policy.longest > self.clock()
            if run and run.machine == machine and not run.state.is_final and in_time:
                self.launching.guard_machine(machine, launched_at)
        return []

    def _serving(self) -> list[str]:
        """What serves is what the ledger says, whoever else changed the service."""
        return self.releasing.restore()

    def _published(self, run_id: str) -> str:
        """The model is there, but its event never came."""
        if not self.training.bucket.is_published(run_id):
            return ""
        run = self.training.model_published(run_id, policy=self.policy, served_dataset=self.served_dataset)
        return f"published, now {run.state}" if run else ""


def _why_orphaned(
    machine: str, run: Run | None, launched_at: datetime, now: datetime, longest: timedelta
) -> str | None:
    """None while the machine may be: its own run goes on, or its end is only minutes ago."""
    if _older(launched_at + longest, now):
        return f"it outlived its timer of {longest}"
    if run is None:
        return "the ledger knows no such run"
    if run.state.is_final:
        return f"the run is {run.state}" if _older(run.ended_at or launched_at, now) else None
    if run.machine == machine or (run.machine is None and not run.was_on(machine)):
        return None  # its own, or one whose launch is still being written down: the next launch finds it
    return f"the run is {run.state} on {run.machine or 'no machine'}"


def _unheard_of(run: Run, alive: Collection[str], now: datetime) -> list[str]:
    """Machines that the run does not wait for any more, and that are gone."""
    current = None if run.state.is_final else run.machine
    return [
        stint.machine
        for stint in run.stints
        if not stint.gone and stint.machine not in {current, *alive} and _older(stint.ended_at or run.ended_at, now)
    ]


def _older(at: datetime | None, now: datetime) -> bool:
    """Younger ones may still be on their way into the ledger, or into EC2's answers."""
    return at is not None and now - at > GRACE
