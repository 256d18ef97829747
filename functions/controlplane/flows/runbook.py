"""A run changes here alone: its new state, the record, the queue and the alerts in one piece; its card before its end.

The card is written first, so that a function that dies in between leaves no run without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..domain import alerts
from ..domain.alerts import Alert
from ..domain.card_page import page
from ..domain.cards import card, links_of
from ..domain.estimates import Pace
from ..domain.models import BadManifest, Model
from ..domain.money import cost_sentence
from ..domain.pools import Rest
from ..domain.runs import Queue, Run, RunState
from ..ports import Bucket, Ledger, Record
from .common import Clock, on_conflict_again


@dataclass(frozen=True)
class RunBook:
    ledger: Ledger
    bucket: Bucket
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
        pace: Pace | None = None,
        rests: Sequence[Rest] = (),
    ) -> Run:
        record = Record(self.clock(), f"run {run.run_id}", was, run.state, why)
        return self.ledger.save_run(
            run, record, queue=queue, champion=champion, baseline=baseline, pace=pace, alerts=alerts, rests=rests
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
        pace: Pace | None = None,
        rests: Sequence[Rest] = (),
    ) -> Run:
        """`to_do` instead of the usual advice."""
        ended = run.ended(state, reason, self.clock())
        cost = cost_sentence(run.stints, self.clock())
        told = alerts.run_ended(
            ended, sentence=reason, cost=cost, bucket=self.bucket_name, serves=serves, instead_to_do=to_do
        )
        self.write_card(ended)
        return on_conflict_again(
            lambda: self.save(
                ended,
                run.state,
                reason,
                queue=self.ledger.queue().without(ended),
                alerts=[told],
                champion=champion,
                baseline=baseline,
                pace=pace,
                rests=rests,
            )
        )

    def machine_gone(self, run: Run, machine: str, cause: str, why: str) -> None:
        """Its bill stops; of a run that is over the card is written again."""
        after = run.machine_ended(machine, self.clock(), cause, why)
        if after == run:
            return
        if not run.state.is_final:
            self.save(after, run.state, f"machine {machine} is gone")
            return
        self.write_card(after)
        on_conflict_again(
            lambda: self.save(after, run.state, f"machine {machine} is gone", queue=self.ledger.queue().without(after))
        )

    def write_card(self, run: Run) -> None:
        manifest = self._manifest(run)
        links, now = links_of(run.run_id, self.bucket.keys_of(run.run_id)), self.clock()
        try:
            told = card(run, manifest, links, now)
            shown = page(told, manifest)
        except (AttributeError, KeyError, TypeError, ValueError):  # not all of it is checked; the run has to end
            told = card(run, None, links, now)
            shown = page(told, None)
        self.bucket.write_card(run.run_id, told, shown)

    def _manifest(self, run: Run) -> Mapping[str, Any] | None:
        """Of a model that can be believed."""
        if not run.stints:
            return None
        try:
            manifest = self.bucket.manifest(run.run_id)
            if manifest is not None:
                Model.from_manifest(manifest)
        except BadManifest:
            return None
        return manifest
