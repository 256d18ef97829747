"""What people read when an alarm goes off, or tasks crash."""

from __future__ import annotations

from datetime import datetime

from ..alarms import AlarmChange, Answer
from ..crashes import Pattern
from ..failures import FailedTask
from .alert import Alert
from .of_releases import content, with_last_words


def alarm_changed(change: AlarmChange, told: Answer, dashboard: str, task: FailedTask | None = None) -> Alert:
    """`task` is one of the release that is taken back."""
    return Alert.of(
        change.incident,
        f"Tidegate: {change.state} {change.name}",
        happened=f"Alarm {change.name} went from {change.previous_state} to {change.state} at {_minute(change.at)}.",
        why=with_last_words(change.reason or "CloudWatch gave no reason.", task),
        done=told.done,
        to_do=told.to_do,
        look=f"CloudWatch dashboard {dashboard}",
    )


def tasks_crash(alert_id: str, found: Pattern, told: Answer, task: FailedTask | None, service: str) -> Alert:
    """`task` is the one that crashed last."""
    release = found.release
    return Alert.of(
        alert_id,
        f"Tidegate: tasks of release {release.number} crash",
        happened=f"{found.sentence}: {content(release)}.",
        why=with_last_words(task.sentence, task) if task else "ECS does not show the tasks any more.",
        done=told.done,
        to_do=told.to_do,
        look=f"ECS service {service}",
    )


def _minute(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC")
