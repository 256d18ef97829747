"""Tasks of what serves crash: while the release bakes it is taken back, as by an alarm on errors; else people are told.

What rolls is judged in `settling.py`, by its crashes too. ECS's event only makes us look: the tasks that it still shows
are counted, so an event that came twice counts once, and one that never came is made up for by the reconciler.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ..domain import alerts, crashes
from ..domain.releases import Release
from ..domain.rollout import Rollout
from ..ports import FailedTasks, Ledger, Record
from .common import Clock
from .releasing import Releasing


@dataclass(frozen=True)
class Crashing:
    ledger: Ledger
    failed_tasks: FailedTasks
    releasing: Releasing
    clock: Clock
    bake: timedelta

    def look(self) -> list[str]:
        """Go back once a release, or tell once a day that nothing is done by itself, and why."""
        rollout = self.ledger.rollout()
        release = rollout.rolling or rollout.serving
        found = crashes.pattern(release, self.failed_tasks.crashed(release)) if release else None
        answer = crashes.answer(found, rollout, bake=self.bake) if found else None
        if found is None or answer is None:
            return []
        alert_id = found.cause if answer.roll_back_to else f"{found.cause} {found.at:%Y-%m-%d}"
        if self.ledger.is_noted(alert_id):
            return []
        task = self.failed_tasks.of(found.release, found.last)
        alert = alerts.tasks_crash(alert_id, found, answer, task, self.releasing.service_name)
        if answer.roll_back_to:
            return self._go_back(found, alert)
        state, why = found.release.state, f"{found.sentence}. {answer.done}"
        record = Record(self.clock(), f"release {found.release.number}", state, state, why)
        self.ledger.note([alert], record)
        return [answer.done]

    def _go_back(self, found: crashes.Pattern, alert: alerts.Alert) -> list[str]:
        """Decided again on the rollout that is changed: another release may serve or roll by then."""

        def rule(rollout: Rollout, now: datetime) -> tuple[Rollout, list[Release]]:
            answer = crashes.answer(found, rollout, bake=self.bake)
            back = answer and answer.roll_back_to
            if rollout.serving is None or rollout.serving.number != found.release.number or not back:
                return rollout, []
            left = rollout.serving.number
            return rollout.propose(found.cause, now, image=back.image, model=back.model, takes_back=left)

        return self.releasing.change(rule, lambda release, _: [alert] if release.cause == found.cause else [])
