"""What passes: time, and the messages that come later."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from controlplane.domain.batches import Batch

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class FakeClock:
    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **time: float) -> None:
        self.now += timedelta(**time)


@dataclass(frozen=True)
class Ring:
    """A delayed message; no dataset and no machine: only look at the queue of runs. `look`: at the rollout."""

    due: datetime
    dataset: str | None = None
    batch: str = ""
    as_of: datetime | None = None
    machine: str | None = None
    look: bool = False


@dataclass
class FakeTimer:
    clock: FakeClock
    rings: list[Ring] = field(default_factory=list)

    def settle(self, batch: Batch, after: timedelta) -> None:
        self.rings.append(Ring(self.clock() + after, batch.dataset, batch.batch_id, batch.last_drop_at))

    def launch(self, after: timedelta) -> None:
        self.rings.append(Ring(self.clock() + after))

    def machine(self, machine_id: str, after: timedelta) -> None:
        self.rings.append(Ring(self.clock() + after, machine=machine_id))

    def again(self, after: timedelta) -> None:
        self.rings.append(Ring(self.clock() + after, look=True))
