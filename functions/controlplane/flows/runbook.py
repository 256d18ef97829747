"""A run changes here alone: its new state, the record, the queue and the alerts in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..domain import alerts
from ..domain.alerts import Alert
from ..domain.money import cost_sentence
from ..domain.pools import Rest
from ..domain.runs import Queue, Run, RunState
from ..ports import Ledger, Record
from .common import Clock, on_conflict_again


@dataclass(frozen=True)
class RunBook:
    ledger: Ledger
    clock: Clock
    bucket_name: str

    def save(
        self,
        run: Run,
        was: str,
        why: str,
        *,
        queue: Queue | None = None,
        alerts: Sequence[Alert] = (),
        champion: str | None = None,
        baseline: str | None = None,
        rests: Sequence[Rest] = (),
    ) -> Run:
        record = Record(self.clock(), f"run {run.run_id}", was, run.state, why)
        return self.ledger.save_run(
            run, record, queue=queue, champion=champion, baseline=baseline, alerts=alerts, rests=rests
        )

    def end(
        self,
        run: Run,
        state: RunState,
        reason: str,
        *,
        to_do: str = "",
        serves: bool = False,
        champion: str | None = None,
        baseline: str | None = None,
        rests: Sequence[Rest] = (),
    ) -> Run:
        """`to_do` instead of the usual advice."""
        ended = run.ended(state, reason, self.clock())
        cost = cost_sentence(run.stints, self.clock())
        told = alerts.run_ended(
            ended, sentence=reason, cost=cost, bucket=self.bucket_name, serves=serves, instead_to_do=to_do
        )
        return on_conflict_again(
            lambda: self.save(
                ended,
                run.state,
                reason,
                queue=self.ledger.queue().without(run),
                alerts=[told],
                champion=champion,
                baseline=baseline,
                rests=rests,
            )
        )
