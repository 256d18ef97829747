"""An alarm changed: the service is scaled or taken back as the alarm's policy says, and people are told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ..domain import alerts
from ..domain.alarms import AlarmChange, Answer, Situation, Standing, decide
from ..domain.failures import FailedTask
from ..domain.releases import Fate, Release
from ..domain.rollout import Rollout
from ..ports import FailedTasks, Ledger, Record, Service
from .common import Clock, on_conflict_again
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
        """Decide, do and note the alert. What was noted is not acted on again, but goes on where a function died."""
        if self.ledger.is_noted(change.incident):
            self.releasing.go_on()
            return "known"
        answer = on_conflict_again(lambda: self._step(change))
        if answer is None:
            return "nothing to do"
        self.releasing.go_on()
        return answer.done

    def _step(self, change: AlarmChange) -> Answer | None:
        """What is done to releases is decided and written on one read, with what is told of it: so that is true."""
        rollout, view = self.ledger.rollout(), self.service.view()
        situation = Situation(**vars(Standing.of(rollout)), desired=view.desired, ceiling=self.ceiling)
        answer = decide(change, situation, bake=self.bake)
        if answer is None:
            return None
        if answer.take_back is not None:
            fate = Fate(serves=False, by=f"alarm {change.name}", why=change.reason)
            self.taking_back.end(rollout, fate, beside=self._told(change, answer))
        elif back := answer.roll_back_to:
            self._go_back(change, answer, rollout, back)
        else:
            answer = self.ledger.decided(change.incident, answer)  # a task more is asked for once
            if answer.scale_to is not None:
                self.service.scale_to(answer.scale_to)
            alert, record = self._told(change, answer)
            self.ledger.note([alert], record)
        return answer

    def _go_back(self, change: AlarmChange, answer: Answer, rollout: Rollout, back: Release) -> None:
        assert rollout.serving, "only what serves bakes"
        told = self._told(change, answer, self.failed_tasks.of(rollout.serving))
        ruled, changed = rollout.propose(
            change.incident, self.clock(), image=back.image, model=back.model, takes_back=rollout.serving.number
        )
        self.releasing.save(rollout, ruled, changed, beside=told)

    def _told(self, change: AlarmChange, answer: Answer, task: FailedTask | None = None) -> tuple[alerts.Alert, Record]:
        why = f"{change.reason} {answer.done}"
        record = Record(self.clock(), change.incident, change.previous_state, change.state, why)
        return alerts.alarm_changed(change, answer, self.dashboard, task), record
