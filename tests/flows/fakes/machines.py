"""EC2 in memory: client tokens repeat their answer, pools refuse, and what a machine costs is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from controlplane.domain.account import Preconditions, Quota
from controlplane.domain.pools import Ask, Pool
from controlplane.domain.refusals import Refusal
from controlplane.domain.runs import Machine, Run
from controlplane.ports import LaunchRefused

from tests.flows.fakes.clock import FakeClock


@dataclass
class FakePrices:
    """Two zones; what a test takes out is not told. `asked` counts the slow questions."""

    spots: dict[tuple[str, str], float | None] = field(
        default_factory=lambda: {("c6i.large", "zone of s-a"): 0.04, ("c6i.large", "zone of s-b"): 0.05}
    )
    lists: dict[str, float] = field(default_factory=lambda: {"c6i.large": 0.1})
    asked: list[str] = field(default_factory=list)

    def spot(self, now: datetime) -> Mapping[tuple[str, str], float | None]:
        assert now.tzinfo is not None
        return self.spots

    def on_demand(self, machine_type: str) -> float | None:
        self.asked.append(machine_type)
        return self.lists.get(machine_type)


def refused(code: str, message: str = "none here", *pools: Pool) -> LaunchRefused:
    """One answer of EC2 to all pools, or to each of these."""
    return LaunchRefused([Refusal(code, message, pool) for pool in pools] or [Refusal(code, message)])


A_POOL = Pool("c6i.large", "s-a")
NO_CAPACITY = refused("InsufficientInstanceCapacity")
BAD_REQUEST = refused("InvalidAMIID.NotFound", "no such image")


@dataclass
class FakeFleet:
    """EC2 Fleet: one answer a client token, good or bad; the same token with another question is refused.

    `refusals` are the answers to the next new tokens; `empty` are (lifecycle, pool) without a machine.
    """

    clock: FakeClock
    refusals: list[Exception] = field(default_factory=list)
    empty: set[tuple[str, Pool]] = field(default_factory=set)
    answers: dict[str, Machine | Exception] = field(default_factory=dict)
    asked: dict[str, Ask] = field(default_factory=dict)
    launched: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def launch(self, run: Run) -> Machine:
        token = run.launch_token
        if self.asked.setdefault(token, run.ask) != run.ask:
            raise refused("IdempotentParameterMismatch", "the token came with another question")
        if token not in self.answers:
            self.answers[token] = self.refusals.pop(0) if self.refusals else self._answer(run)
        answer = self.answers[token]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer(self, run: Run) -> Machine | Exception:
        """The first pool that has one."""
        for pool in run.ask.pools:
            if (run.ask.lifecycle, pool) not in self.empty:
                return self.boot(run.run_id, pool, run.ask.lifecycle)
        return refused("InsufficientInstanceCapacity", "none here", *run.ask.pools)

    def boot(self, run_id: str, pool: Pool = A_POOL, lifecycle: str = "spot") -> Machine:
        name = f"i-{len(self.launched) + 1}"
        machine = Machine(name, pool.machine_type, f"zone of {pool.subnet}", lifecycle, pool.subnet)
        self.launched[machine.machine_id] = (run_id, self.clock())
        return machine

    def machines(self) -> Mapping[str, tuple[str, datetime]]:
        return {name: told for name, told in self.launched.items() if name not in self.gone}

    def run_of(self, machine_id: str) -> str | None:
        return self.launched[machine_id][0] if machine_id in self.launched else None

    def end(self, machine_id: str) -> None:
        assert machine_id in self.launched, "IAM allows to end only the stack's own machines"
        self.gone.add(machine_id)


@dataclass
class FakeGuard:
    schedules: dict[str, datetime] = field(default_factory=dict)

    def set(self, machine_id: str, at: datetime) -> None:
        self.schedules.setdefault(machine_id, at)


@dataclass
class FakeAccount:
    """An account that has all that it needs, until a test says otherwise."""

    has_spot_role: bool | None = True
    vcpus: float | None = 64
    looked_at: int = 0

    def preconditions(self, quota: Quota) -> Preconditions:
        self.looked_at += 1
        return Preconditions(self.has_spot_role, quota, self.vcpus)
