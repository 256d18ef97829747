"""A batch: the drops to one dataset that came together. It settles when it was quiet, or open for too long."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from .drops import Drop, Finding

TOLD_BY_NAME = 20


@dataclass(frozen=True)
class Patience:
    """`quiet`: no new drop for so long; `max_wait`: open for so long at the most. Both settle a batch."""

    quiet: timedelta
    max_wait: timedelta


@dataclass(frozen=True)
class RefusedDrop:
    drop_id: str
    key: str
    sentence: str


@dataclass(frozen=True)
class Batch:
    """`refused` names the first few refused drops; `refused_count` counts all of them."""

    dataset: str
    opened_at: datetime
    last_drop_at: datetime
    accepted: int = 0
    refused: tuple[RefusedDrop, ...] = ()
    refused_count: int = 0

    @classmethod
    def opened(cls, dataset: str, now: datetime) -> Batch:
        return cls(dataset=dataset, opened_at=now, last_drop_at=now)

    @property
    def batch_id(self) -> str:
        return f"{self.dataset}@{self.opened_at.isoformat()}"

    def with_accepted(self, now: datetime) -> Batch:
        return replace(self, accepted=self.accepted + 1, last_drop_at=max(now, self.last_drop_at))

    def with_refused(self, drop: Drop, finding: Finding, now: datetime) -> Batch:
        named = self.refused
        if len(named) < TOLD_BY_NAME:
            named = (*named, RefusedDrop(drop.drop_id, drop.key, finding.sentence))
        return replace(
            self, refused=named, refused_count=self.refused_count + 1, last_drop_at=max(now, self.last_drop_at)
        )

    def settles_in(self, now: datetime, patience: Patience) -> timedelta:
        """How long until it settles if nothing more comes; zero or less = now."""
        return min(self.last_drop_at + patience.quiet, self.opened_at + patience.max_wait) - now
