"""A run: one training of one snapshot, and the queue that runs wait in.

QUEUED -> LAUNCHING -> TRAINING -> (INTERRUPTED -> LAUNCHING)* -> PROMOTED | REJECTED, or FAILED, CANCELLED.
A run is launched by claiming it first: the claim is written before a machine is asked for, so a repeated event
cannot start a second one; a claim whose function died is taken up again when its lease has run out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from .estimates import Estimate
from .money import Stint
from .pools import ON_DEMAND, SPOT, Ask, Pool
from .prices import PriceList

CLAIM_LEASE = timedelta(seconds=90)


class RunState(StrEnum):
    QUEUED = "QUEUED"
    LAUNCHING = "LAUNCHING"
    TRAINING = "TRAINING"
    INTERRUPTED = "INTERRUPTED"
    PROMOTED = "PROMOTED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        return self in {RunState.PROMOTED, RunState.REJECTED, RunState.FAILED, RunState.CANCELLED}


@dataclass(frozen=True)
class Machine:
    machine_id: str
    machine_type: str
    zone: str
    lifecycle: str
    subnet: str = ""


@dataclass(frozen=True)
class Run:
    """`attempt` counts the times a machine was asked for, `claimed_at` is when that was; `version` is the ledger's.

    `ask` is what the attempt asked for, `refusals` those in a row since the last machine, `spot_refusals` all of Spot,
    `not_before` when EC2 may be asked again; `estimate` was made before the start, `allowance` is what the attempt may
    cost in dollars (None = no cap).
    """

    run_id: str
    dataset: str
    digest: str
    created_at: datetime
    state: RunState = RunState.QUEUED
    attempt: int = 0
    machine: str | None = None
    claimed_at: datetime | None = None
    stints: tuple[Stint, ...] = ()
    reason: str = ""
    ended_at: datetime | None = None
    ask: Ask = Ask()
    refusals: int = 0
    spot_refusals: int = 0
    not_before: datetime | None = None
    estimate: Estimate | None = None
    allowance: float | None = None
    version: int = 0

    @property
    def is_fresh(self) -> bool:
        """Nothing was trained yet, so what it is compared with may still change."""
        return not self.stints

    def was_on(self, machine: str) -> bool:
        return any(stint.machine == machine for stint in self.stints)

    @property
    def spot_tries(self) -> int:
        """Spot machines that were lost, and Spot requests that were refused."""
        return self.spot_refusals + sum(stint.lifecycle == SPOT and bool(stint.ended_at) for stint in self.stints)

    @property
    def launch_token(self) -> str:
        """EC2's client token: the same attempt asks for the same machine."""
        return f"{self.run_id}-{self.attempt}"

    def may_be_claimed(self, now: datetime) -> bool:
        if self.state in {RunState.QUEUED, RunState.INTERRUPTED}:
            return self.not_before is None or now >= self.not_before
        return self.state is RunState.LAUNCHING and self.machine is None and self._lease_is_over(now)

    def _lease_is_over(self, now: datetime) -> bool:
        return self.claimed_at is None or now - self.claimed_at > CLAIM_LEASE

    def claimed(self, now: datetime, ask: Ask | None = None) -> Run:
        """A new attempt, or the very same one again when its function died between claim and launch."""
        if self.state is RunState.LAUNCHING:
            return replace(self, machine=None, claimed_at=now)
        return replace(
            self,
            state=RunState.LAUNCHING,
            attempt=self.attempt + 1,
            machine=None,
            claimed_at=now,
            ask=ask or Ask(),
        )

    def on(self, machine: Machine, now: datetime, prices: PriceList) -> Run:
        stint = Stint(
            self.attempt,
            machine.machine_id,
            machine.machine_type,
            machine.zone,
            machine.lifecycle,
            prices.of(machine.machine_type, machine.zone, machine.lifecycle),
            now,
            subnet=machine.subnet,
            on_demand=prices.of(machine.machine_type, machine.zone, ON_DEMAND),
        )
        return replace(
            self, machine=machine.machine_id, stints=(*self.stints, stint), refusals=0, not_before=None, reason=""
        )

    def published_by(self, attempt: int) -> Run:
        """Its machine is the one that published, even if the run had moved on to another."""
        machine = next((stint.machine for stint in self.stints if stint.attempt == attempt), self.machine)
        return replace(self, machine=machine)

    def training(self) -> Run:
        return replace(self, state=RunState.TRAINING)

    def waits_again(self, reason: str, until: datetime | None = None, *, counts: bool = True) -> Run:
        """No machine could be had: it waits. The attempt keeps its number, for its token is used up.

        `counts`: the refusal is one of the Spot tries that a run has.
        """
        return replace(
            self,
            state=RunState.QUEUED if self.is_fresh else RunState.INTERRUPTED,
            machine=None,
            reason=reason,
            refusals=self.refusals + 1,
            spot_refusals=self.spot_refusals + (counts and self.ask.lifecycle == SPOT),
            not_before=until,
        )

    def without_machine(self, now: datetime, cause: str = "", why: str = "", *, gone: bool = True) -> Run:
        """The attempt on its machine is over, and the bill stops; unless the machine is not `gone` yet."""
        return self.machine_ended(self.machine, now, cause, why, gone=gone)

    def machine_ended(self, machine: str | None, now: datetime, cause: str, why: str, *, gone: bool = True) -> Run:
        """Any of its machines. What was said first stays, but for the time until the machine is gone."""

        def ended(stint: Stint) -> Stint:
            if stint.machine != machine or stint.gone or (stint.ended_at and not gone):
                return stint
            if stint.ended_at:
                return replace(stint, ended_at=now, gone=gone)
            return replace(stint, ended_at=now, gone=gone, cause=cause, why_ended=why)

        return replace(self, stints=tuple(ended(stint) for stint in self.stints))

    @property
    def is_billed(self) -> bool:
        """No machine of it costs anything any more."""
        return all(stint.gone for stint in self.stints)

    def ended(self, state: RunState, reason: str, at: datetime | None = None) -> Run:
        return replace(self, state=state, reason=reason, ended_at=at)


SILENCE, NOTICE = "silence", "notice"
TAKEN_BACK = {"spot", "rebalance", NOTICE}  # what EC2 does to Spot machines; no sign that the run itself is ill


@dataclass(frozen=True)
class Outcome:
    """Why an attempt ended, in the trainer's own words: trained, failed, interrupted, stopped.

    `cause`: spot, rebalance or sigterm; hours or cost of a stopped one. `step` is of the newest complete checkpoint.
    """

    outcome: str
    reason: str
    cause: str | None = None
    step: int | None = None

    @property
    def last_words(self) -> str:
        """The reason, and for one that was stopped what to do about it."""
        if self.outcome != "stopped":
            return self.reason
        cap = {"hours": "MaxRunHours", "cost": "MaxRunCost or MonthlyBudget"}.get(self.cause or "", "the limit")
        return f"{self.reason} To let it go further, raise {cap} and drop the data again."

    @property
    def is_word_of_a_model(self) -> bool:
        """The model's manifest comes right after it."""
        return self.outcome == "trained"


def cause_of(outcome: Outcome | None) -> str:
    """One word for the ledger: spot, rebalance, sigterm, hours, cost, failed, trained; silence when nobody said why."""
    return (outcome.cause or outcome.outcome) if outcome else SILENCE


def after_machine_ended(run: Run, outcome: Outcome | None, *, published: bool, max_attempts: int) -> Run:
    """What becomes of a run whose machine is gone. A published model is left to the event that tells of it."""
    if run.state.is_final or published:
        return run
    if outcome and outcome.outcome in {"failed", "stopped"}:
        return run.ended(RunState.FAILED, outcome.last_words)
    why = outcome.reason if outcome else "The machine ended without a word."
    died = [stint for stint in run.stints if stint.cause not in TAKEN_BACK]
    if len(died) >= max_attempts:
        ended = f"{len(died)} machines ended before the model was published. Last: {why}"
        return run.ended(RunState.FAILED, ended)
    return replace(run, state=RunState.INTERRUPTED, machine=None, reason=why)


def pool_that_interrupted(run: Run) -> Pool | None:
    """The pool of the last machine, when EC2 took that back (or it vanished without a word) and it was Spot."""
    last = run.stints[-1] if run.stints else None
    if last is None or last.lifecycle != SPOT or not last.subnet or last.cause not in {*TAKEN_BACK, SILENCE}:
        return None
    return Pool(last.machine_type, last.subnet)


@dataclass(frozen=True)
class Queue:
    """Runs that wait, oldest first, and runs that hold a slot (run id, dataset). One active run a dataset.

    `billing`: runs that are over and have machines that are not gone yet.
    """

    waiting: tuple[tuple[str, str], ...] = ()
    active: tuple[tuple[str, str], ...] = ()
    billing: tuple[tuple[str, str], ...] = ()
    version: int = 0

    def with_waiting(self, run: Run) -> Queue:
        """It waits at the end; or in the place of an older snapshot of its dataset that still waits."""
        entry = (run.run_id, run.dataset)
        if entry in self.waiting or entry in self.active:
            return self
        if older := self.replaced_by(run):
            return replace(self, waiting=tuple(entry if e == (older, run.dataset) else e for e in self.waiting))
        return replace(self, waiting=(*self.waiting, entry))

    def replaced_by(self, run: Run) -> str | None:
        """The run that need not start any more, for `run` is a newer snapshot of its dataset."""
        return next((name for name, dataset in self.waiting if dataset == run.dataset and name != run.run_id), None)

    def next_up(self, limit: int) -> str | None:
        """The run that may start now, if a slot is free and its dataset is not being trained already."""
        if len(self.active) >= limit:
            return None
        busy = {dataset for _, dataset in self.active}
        return next((run_id for run_id, dataset in self.waiting if dataset not in busy), None)

    def has_slot(self, run: Run, limit: int) -> bool:
        """It holds one, or it is its turn to take one."""
        return (run.run_id, run.dataset) in self.active or self.next_up(limit) == run.run_id

    def with_active(self, run: Run) -> Queue:
        entry = (run.run_id, run.dataset)
        active = self.active if entry in self.active else (*self.active, entry)
        return replace(self, waiting=tuple(e for e in self.waiting if e != entry), active=active)

    def without(self, run: Run) -> Queue:
        entry = (run.run_id, run.dataset)
        others = tuple(e for e in self.billing if e != entry)
        return replace(
            self,
            waiting=tuple(e for e in self.waiting if e != entry),
            active=tuple(e for e in self.active if e != entry),
            billing=others if run.is_billed else (*others, entry),
        )

    def back_to_waiting(self, run: Run) -> Queue:
        entry = (run.run_id, run.dataset)
        return replace(self.without(run), waiting=(entry, *(e for e in self.waiting if e != entry)))
