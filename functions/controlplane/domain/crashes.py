"""Tasks of a release that were up and ended by themselves: when they are a pattern, and what is done about it.

A crash at start is ECS's to count, by its circuit breaker. A task that crashes later is only replaced by ECS, again and
again; so it is counted here, while its release rolls and while it bakes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from .alarms import Answer, Standing, go_back
from .releases import Fate, Release, ReleaseState
from .rollout import Rollout

# One may be chance: a host that is lost looks the same, and ECS replaces it within a minute. Two tasks of one release
# are the release: with MinTasks=2 they are all of it, or one of them and what replaced it.
ENOUGH = 2
RAN = timedelta(seconds=5)  # one interval of the health check: a task that ended sooner hardly took a request


@dataclass(frozen=True)
class Ended:
    """A task that ended by itself, not for ECS, a person or AWS; `ran` is how long it was RUNNING."""

    task_id: str
    at: datetime
    ran: timedelta
    exit_code: int | None


@dataclass(frozen=True)
class Pattern:
    """Enough crashes of one release; `at` is when they were enough, `last` the last task."""

    release: Release
    count: int
    at: datetime
    last: str

    @property
    def cause(self) -> str:
        """One way back a release, however often its tasks crash."""
        return f"crash release {self.release.number}"

    @property
    def sentence(self) -> str:
        return f"{self.count} tasks of release {self.release.number} were up and ended by themselves"


def pattern(release: Release, ended: Iterable[Ended]) -> Pattern | None:
    """Of each task's end, told once or often; None while it may be chance."""
    crashes = sorted({end.task_id: end for end in ended if _counts(release, end)}.values(), key=lambda end: end.at)
    if len(crashes) < ENOUGH:
        return None
    return Pattern(release, len(crashes), crashes[ENOUGH - 1].at, crashes[-1].task_id)


def _counts(release: Release, end: Ended) -> bool:
    """Once the release serves, ECS counts nothing any more: then a crash at start counts too."""
    serves = release.state is ReleaseState.SERVING and release.since is not None and end.at >= release.since
    return end.exit_code != 0 and (end.ran >= RAN or serves)


def while_rolling(rollout: Rollout, ended: Iterable[Ended]) -> Fate | None:
    """What rolls falls by its crashes; not what goes back, for that is judged by what it comes to."""
    rolling = rollout.rolling
    if rolling is None or rolling.served_before:
        return None
    found = pattern(rolling, ended)
    if found is None:
        return None
    return Fate(serves=False, by="a task that crashed", why=found.sentence, task=found.last)


def answer(found: Pattern, rollout: Rollout, *, bake: timedelta) -> Answer | None:
    """What an alarm on errors would do at that moment; None when the release is judged where it rolls."""
    rolling = rollout.rolling
    if rolling and not rolling.served_before:
        return None
    return go_back(found.at, Standing.of(rollout), bake)
