"""An alarm changed: the service is scaled or taken back as the alarm's policy says, and people are told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ..domain import alerts
from ..domain.alarms import AlarmChange, Situation, Standing, decide
from ..ports import FailedTasks, Ledger, Record, Service
from .common import Clock
from .releasing import Releasing
from .settling import TakingBack


@dataclass(frozen=True)
class Incidents:
    ledger: Ledger
    service: Service
    releasing: Releasing
    taking_back: TakingBack
    failed_tasks: FailedTasks
    clock: Clock
    ceiling: int
    bake: timedelta
    dashboard: str

    def answer(self, change: AlarmChange) -> str:
        """Decide once, do, then note the alert: an incident that was noted is not acted on again."""
        if self.ledger.is_noted(change.incident):
            return "known"
        view, rollout = self.service.view(), self.ledger.rollout()
        standing = vars(Standing.of(rollout))
        situation = Situation(**standing, desired=view.desired, ceiling=self.ceiling)
        answer = decide(change, situation, bake=self.bake)
        if answer is None:
            return "nothing to do"
        answer = self.ledger.decided(change.incident, answer)
        if answer.scale_to is not None:
            self.service.scale_to(answer.scale_to)
        task = None
        if answer.take_back is not None:
            self.taking_back.take_back(answer.take_back, f"alarm {change.name}", change.reason)
        if back := answer.roll_back_to:
            task = self.failed_tasks.of(rollout.serving) if rollout.serving else None
            self.releasing.go_back(change.incident, back)
        why = f"{change.reason} {answer.done}"
        record = Record(self.clock(), change.incident, change.previous_state, change.state, why)
        self.ledger.note([alerts.alarm_changed(change, answer, self.dashboard, task)], record)
        return answer.done
