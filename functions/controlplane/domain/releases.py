"""A release: one image digest with one model, the only thing that is ever deployed. Which one rolls: `rollout.py`.

PENDING -> ROLLING -> SERVING -> RETIRED, or FAILED, ROLLED_BACK; HELD before PENDING while a scan is waited for
(`holding.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from .failures import FailedTask


class ReleaseState(StrEnum):
    HELD = "HELD"
    PENDING = "PENDING"
    ROLLING = "ROLLING"
    SERVING = "SERVING"
    RETIRED = "RETIRED"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"


@dataclass(frozen=True)
class Release:
    """`image` is a digest, `model` a run id; `cause` says what proposed it and makes it unique.

    The placeholder is number 0: it is gone back to where no release serves.

    `proved` are the ids of its tasks that agreed when they were asked; of one that fell, `by` says what failed.
    """

    number: int
    cause: str
    image: str | None
    model: str | None
    state: ReleaseState = ReleaseState.PENDING
    deployment: str | None = None
    since: datetime | None = None
    reason: str = ""
    takes_back: int | None = None  # the release that this one was proposed to go back from
    refused_by_scan: bool = False
    overridden: bool = False  # a person let it go without, or against, its scan's verdict
    proved: tuple[str, ...] = ()
    by: str = ""
    failed: FailedTask | None = None
    again: int = 0  # times that somebody else's deployment took its place while it rolled

    @property
    def is_placeholder(self) -> bool:
        return self.number == 0

    @property
    def carried(self) -> int | None:
        """What its deployment says that it carries."""
        return None if self.is_placeholder else self.number

    @property
    def name(self) -> str:
        return "the placeholder" if self.is_placeholder else f"release {self.number}"

    @property
    def is_rollback(self) -> bool:
        """Proposed to get away from another release: by an alarm, by crashes, or by a person."""
        return self.takes_back is not None or self.cause.startswith("alarm ")

    @property
    def served_before(self) -> bool:
        """A rollback in which nothing is new. A new model that took over one that waited did not serve yet."""
        return self.is_rollback and not self.cause.startswith("model ")

    @property
    def is_new(self) -> bool:
        """It rolls out, and people were not served by it before."""
        return self.state is ReleaseState.ROLLING and not self.served_before

    @property
    def is_promised(self) -> bool:
        """A person decided it, or an alarm did, and people were told that it rolls out."""
        return self.takes_back is not None or self.overridden or self.cause.startswith("decision ")

    @property
    def story(self) -> str:
        """Who wanted it and why, where somebody did; else what proposed it."""
        return self.reason if self.is_promised else self.cause

    def now(self, state: ReleaseState, at: datetime, reason: str) -> Release:
        return replace(self, state=state, since=at, reason=reason)


BY_A_PERSON = "a person"  # what failed, where nothing did
PLACEHOLDER = Release(0, "", None, None)


@dataclass(frozen=True)
class Fate:
    """`serves`, or it falls: then `by` says what failed, and `task` which task, where one did.

    `gone`: the service carries another release already; `again`: the end of its deployment alone, which is made anew.
    """

    serves: bool
    why: str = ""
    by: str = ""
    deployment: str | None = None
    task: str | None = None
    gone: bool = False
    again: bool = False
