"""What an alarm's change means: told, scaled, rolled back, or left alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from .releases import Release
from .rollout import Rollout


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


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What serves, rolls and served before.

    `going_back` is the last good release while it goes out again, `back_at` when that last ended.
    """

    serving: Release | None
    previous: Release | None
    rolling: Release | None
    going_back: Release | None = None
    back_at: datetime | None = None

    @classmethod
    def of(cls, rollout: Rollout) -> Standing:
        return cls(
            serving=rollout.serving,
            previous=rollout.previous,
            rolling=rollout.rolling,
            going_back=rollout.going_back,
            back_at=rollout.back_at,
        )


@dataclass(frozen=True, kw_only=True)
class Situation(Standing):
    """The service when the alarm came; `ceiling` is the most tasks that may run."""

    desired: int
    ceiling: int


@dataclass(frozen=True)
class Answer:
    """What is done about an incident, and what people are told of it. `take_back` is the number of what rolls."""

    done: str
    to_do: str
    scale_to: int | None = None
    roll_back_to: Release | None = None
    take_back: int | None = None


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
        return go_back(change.at, situation, bake)
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


def go_back(at: datetime, situation: Standing, bake: timedelta) -> Answer:
    """Errors or crashes of that time take a release back while it rolls or bakes; what a rollback causes, nothing."""
    serving, previous, rolling = situation.serving, situation.previous, situation.rolling
    if back := situation.going_back:
        return _nothing(f"the service is on its way back to {back.name} already")
    if rolling:
        return _while_rolling(at, rolling, serving)
    if serving is None or serving.since is None:
        return _nothing("there is no release to go back to now")
    if serving.served_before:
        return _nothing(f"release {serving.number} is itself a rollback; the cause is probably not the release")
    back_at = situation.back_at
    if back_at and back_at >= serving.since and at - back_at <= bake:  # a newer release stands for itself
        return _nothing(f"the service went back to release {serving.number} only now; the cause is probably not that")
    if previous is None or (serving.model and not previous.model):
        return _nothing("there is no release to go back to now")
    if at - serving.since > bake:
        return _nothing(f"release {serving.number} has served well for longer than {bake}")
    return Answer(
        roll_back_to=previous,
        done=f"Going back from release {serving.number} to image and model of release {previous.number}.",
        to_do=f"Find out what is wrong with release {serving.number} before you push it again.",
    )


def _while_rolling(at: datetime, rolling: Release, serving: Release | None) -> Answer:
    if rolling.served_before:
        return _nothing(f"release {rolling.number}, which rolls, is itself a rollback")
    if serving is None:
        return _nothing(f"release {rolling.number} rolls, and there is no release to go back to now")
    if rolling.since is None or at < rolling.since:
        return _nothing(f"the alarm is older than release {rolling.number}, which rolls")
    return Answer(
        take_back=rolling.number,
        done=f"Taking release {rolling.number}, which was rolling out, back: release {serving.number} goes out again.",
        to_do=f"Find out what is wrong with release {rolling.number} before you push it again.",
    )


def _nothing(because: str) -> Answer:
    return Answer(done=f"Nothing: {because}.", to_do="Look at the service's logs.")
