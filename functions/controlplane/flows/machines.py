"""A machine came up, was warned, ended; or its trainer said why it ends. The run goes on elsewhere, or ends.

    warned -> (20 s) no word -> INTERRUPTED -> the next machine is asked for; the old one may save until it is taken
    outcome.json of the current attempt -> INTERRUPTED or FAILED at once, before the machine is gone
    machine gone -> the outcome that it left; none = silence -> INTERRUPTED
Whoever publishes first wins. A word of an attempt that is not the run's any more changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ..domain.pools import AFTER_INTERRUPTION, SPOT, Rest
from ..domain.runs import (
    NOTICE,
    Outcome,
    Run,
    RunState,
    after_machine_ended,
    cause_of,
    pool_that_interrupted,
)
from ..ports import Bucket, Fleet, Ledger, Timer, TryAgain
from .common import Clock
from .runbook import RunBook

TIME_TO_SPEAK = timedelta(seconds=20)  # a trainer that was warned saves and says so within that, or is not waited for
NOTHING = "nothing to do"


@dataclass(frozen=True)
class Machines:
    ledger: Ledger
    bucket: Bucket
    fleet: Fleet
    timer: Timer
    clock: Clock
    book: RunBook
    max_attempts: int

    def warned(self, machine_id: str) -> str:
        """A Spot notice or a rebalance recommendation: the trainer has seen it too. Look again in a moment."""
        run = self._run_of(machine_id)
        if run is None or run.machine not in {machine_id, None}:
            return NOTHING
        self.timer.machine(machine_id, TIME_TO_SPEAK)
        return f"{run.run_id}: its machine was warned"

    def not_heard_of(self, machine_id: str) -> str:
        """The moment is over: if the machine still is the run's, the next one is asked for all the same."""
        run = self._run_of(machine_id)
        if run and self._is_being_written_down(run, machine_id):
            raise TryAgain(f"the launch of {run.run_id} is still being written down")
        if run is None or run.machine != machine_id:
            return f"{NOTHING}: the run went on already"
        outcome = self.bucket.outcome(run.run_id, run.attempt)
        if outcome is None:
            outcome = Outcome(
                "interrupted", "EC2 takes the machine back, and it had not saved in time to say so.", NOTICE
            )
        return self._ended(run, outcome)

    def said(self, run_id: str, attempt: int) -> str:
        """outcome.json of an attempt was written."""
        run = self.ledger.run(run_id)
        if run is None or run.state.is_final or run.attempt != attempt:
            return f"{NOTHING}: not the word of an attempt that counts"
        outcome = self.bucket.outcome(run_id, attempt)
        if outcome is None or run.state not in {RunState.LAUNCHING, RunState.TRAINING}:
            return NOTHING
        if run.machine is None:
            raise TryAgain(f"the launch of {run_id} is still being written down")
        return self._ended(run, outcome)

    def changed(self, machine_id: str, *, alive: bool) -> str:
        """EC2 says that a machine is up, or that it is going or gone. Return what came of it."""
        run_id = self.fleet.run_of(machine_id)
        run = self.ledger.run(run_id) if run_id else None
        if run is None:
            return NOTHING
        if run.state.is_final:
            return NOTHING if alive else self.gone(run, machine_id)
        if self._is_being_written_down(run, machine_id):
            raise TryAgain(f"the launch of {run.run_id} is still being written down")
        if run.machine != machine_id:
            return f"{NOTHING}: the run is on another machine" if alive else self.gone(run, machine_id)
        return self.runs(run) if alive else self.ended(run)

    def runs(self, run: Run) -> str:
        if run.state is not RunState.LAUNCHING:
            return NOTHING
        self.book.save(run.training(), run.state, f"machine {run.machine} is up")
        return f"{run.run_id} trains"

    def ended(self, run: Run) -> str:
        """The run's machine is gone."""
        return self._ended(run, self.bucket.outcome(run.run_id, run.attempt), gone=True)

    def _run_of(self, machine_id: str) -> Run | None:
        """The run that the machine was launched for, if it goes on."""
        run_id = self.fleet.run_of(machine_id)
        run = self.ledger.run(run_id) if run_id else None
        return run if run and not run.state.is_final else None

    @staticmethod
    def _is_being_written_down(run: Run, machine_id: str) -> bool:
        return run.machine is None and run.state is RunState.LAUNCHING and not run.was_on(machine_id)

    def _ended(self, run: Run, outcome: Outcome | None, *, gone: bool = False) -> str:
        """The attempt is over: the run goes on elsewhere from its checkpoint, or ends with its reason."""
        if outcome and outcome.is_word_of_a_model and not gone:
            return f"{NOTHING}: the model is on its way"
        published = self.bucket.is_published(run.run_id)
        why = outcome.reason if outcome else "The machine ended without a word."
        stopped = run.without_machine(self.clock(), cause_of(outcome), why, gone=gone)
        after = after_machine_ended(stopped, outcome, published=published, max_attempts=self.max_attempts)
        rests = self._rests(after)
        if after.state is RunState.FAILED:
            self.book.end(stopped, RunState.FAILED, after.reason, rests=rests)
        elif after != run:
            self.book.save(after, run.state, after.reason or "its machine ended", rests=rests)
        return f"{run.run_id}: {after.state}"

    def _rests(self, run: Run) -> list[Rest]:
        pool = pool_that_interrupted(run)
        return [Rest(pool, SPOT, self.clock() + AFTER_INTERRUPTION, run.stints[-1].cause)] if pool else []

    def gone(self, run: Run, machine_id: str) -> str:
        """A machine that the run does not wait for is gone: the run is over, or went on elsewhere."""
        if run.state.is_final and run.machine == machine_id:
            cause, why = str(run.state).lower(), f"the run was {run.state}"
        else:
            cause, why = "overtaken", "the run went on without it"
        self.book.machine_gone(run, machine_id, cause, why)
        return f"{run.run_id}: its machine {machine_id} is gone"
