"""What an alarm's change means: told, scaled, rolled back, or left alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from .releases import Release


@dataclass(frozen=True)
class AlarmChange:
    """`silenced`: muted, or suppressed by a composite alarm; then people do not want to hear of it."""

    name: str
    state: str
    previous_state: str
    reason: str
    at: datetime
    description: str = ""
    silenced: bool = False

    @property
    def incident(self) -> str:
        """The same change has the same name, however often it is delivered."""
        return f"alarm {self.name} {self.state} {self.at.isoformat()}"


@dataclass(frozen=True)
class Situation:
    """The service when the alarm came; `ceiling` is the most tasks that may run."""

    desired: int
    ceiling: int
    serving: Release | None
    previous: Release | None
    rolling: Release | None


@dataclass(frozen=True)
class Answer:
    """What is done about an incident, and what people are told of it."""

    done: str
    to_do: str
    scale_to: int | None = None
    roll_back_to: Release | None = None


def decide(change: AlarmChange, situation: Situation, *, bake: timedelta) -> Answer | None:
    """Only a fresh breach acts; None = nobody need know."""
    told_already = change.name.endswith("failed-runs")  # by the run's own alert, which says why
    if change.silenced or told_already or change.state == change.previous_state:
        return None
    if change.state == "OK" and change.previous_state == "ALARM":
        return Answer(done="Nothing; it is over.", to_do="Nothing.")
    if change.state != "ALARM":
        return None
    if change.name.endswith("latency-high"):
        return _grow(situation)
    if change.name.endswith("errors-high"):
        return _go_back(change, situation, bake)
    return Answer(done="Nothing by itself.", to_do=change.description or "Look at the dashboard.")


def _grow(situation: Situation) -> Answer:
    if situation.desired >= situation.ceiling:
        return Answer(
            done=f"Nothing: {situation.desired} tasks run, the most that are allowed.",
            to_do="Raise MaxTasks, or find out what slows the service down.",
        )
    more = situation.desired + 1
    return Answer(
        scale_to=more,
        done=f"Scaled the service from {situation.desired} to {more} tasks.",
        to_do="Nothing, if it gets better. Else look at the dashboard.",
    )


def _go_back(change: AlarmChange, situation: Situation, bake: timedelta) -> Answer:
    serving, previous = situation.serving, situation.previous
    model_would_go = serving and previous and serving.model and not previous.model
    if situation.rolling or serving is None or previous is None or serving.since is None or model_would_go:
        return Answer(done="Nothing: there is no release to go back to now.", to_do="Look at the service's logs.")
    if serving.takes_back is not None or serving.cause.startswith("alarm "):
        return Answer(
            done=f"Nothing: release {serving.number} is itself a rollback.",
            to_do="Look at the service's logs; the cause is probably not the release.",
        )
    if change.at - serving.since > bake:
        return Answer(
            done=f"Nothing: release {serving.number} has served well for longer than {bake}.",
            to_do="Look at the service's logs.",
        )
    return Answer(
        roll_back_to=previous,
        done=f"Going back from release {serving.number} to image and model of release {previous.number}.",
        to_do=f"Find out what is wrong with release {serving.number} before you push it again.",
    )
