"""Pools of machines (a type in a subnet), which of them to ask, for what, and when to ask again.

A pool that just interrupted or refused a machine is left out for a while. Spot is asked first; after so many tries,
or when the deadline would be missed, on-demand. Refusals are answered by growing gaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

SPOT, ON_DEMAND = "spot", "on-demand"
ADVISED_POOLS = 10  # docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-best-practices.html
AFTER_INTERRUPTION = timedelta(minutes=30)
AFTER_REFUSAL = timedelta(minutes=10)
AFTER_FAULT = timedelta(hours=12)  # a type that the zone does not offer will not be there in ten minutes
LONGEST_WAIT = timedelta(minutes=15)  # what a delayed message can wait


@dataclass(frozen=True)
class Pool:
    machine_type: str
    subnet: str


def pools_of(types: Iterable[str], subnets: Iterable[str]) -> tuple[Pool, ...]:
    """Every type in every subnet; names may carry blanks and come twice."""
    subnets = [subnet.strip() for subnet in subnets if subnet.strip()]
    kinds = [kind.strip() for kind in types if kind.strip()]
    return tuple(dict.fromkeys(Pool(kind, subnet) for kind in kinds for subnet in subnets))


def too_few(pools: Sequence[Pool]) -> str | None:
    """Why EC2 may often have no machine; None when there are pools enough."""
    if len(pools) >= ADVISED_POOLS:
        return None
    types, subnets = len({pool.machine_type for pool in pools}), len({pool.subnet for pool in pools})
    return (
        f"There are {len(pools)} pools to take machines from ({types} types in {subnets} subnets); "
        f"EC2 advises at least {ADVISED_POOLS}. Fewer are refused and interrupted more often."
    )


@dataclass(frozen=True)
class Rest:
    """A pool that is left out until then; for Spot and on-demand apart."""

    pool: Pool
    lifecycle: str
    until: datetime
    why: str


@dataclass(frozen=True)
class Ask:
    """What an attempt asks EC2 for. Kept with it, for a client token must always come with the same question."""

    lifecycle: str = SPOT
    pools: tuple[Pool, ...] = ()


def rested(pools: Sequence[Pool], rests: Iterable[Rest], lifecycle: str, now: datetime) -> tuple[Pool, ...]:
    """The pools that need no rest; all of them when that is none."""
    out = {rest.pool for rest in rests if rest.lifecycle == lifecycle and rest.until > now}
    return tuple(pool for pool in pools if pool not in out) or tuple(pools)


@dataclass(frozen=True)
class SpotPolicy:
    """`attempts`: so many Spot machines or requests may be lost; `deadline`: from queueing, when it should be done."""

    attempts: int
    deadline: timedelta


def lifecycle(tries: int, queued_at: datetime, now: datetime, left: timedelta, policy: SpotPolicy) -> tuple[str, str]:
    """Spot or on-demand, and why. `left` is how long the training may still take."""
    if tries >= policy.attempts:
        return ON_DEMAND, f"on-demand after {tries} lost Spot attempts"
    if now + left > queued_at + policy.deadline:
        hours = policy.deadline / timedelta(hours=1)
        return ON_DEMAND, f"on-demand, for the deadline of {hours:g} hours would be missed"
    return SPOT, "Spot"


def time_left(longest: timedelta, used: timedelta, estimated: timedelta | None) -> timedelta:
    """How long the training may still take: what it is allowed; where it was estimated, at the most twice that."""
    allowed = max(timedelta(), longest - used)
    return allowed if estimated is None else min(allowed, 2 * estimated)


def wait_after(refusals: int, base: timedelta, jitter: float) -> timedelta:
    """The gap before the next try, doubled by each refusal in a row; `jitter` (0 to 1) spreads it by a quarter."""
    doubled = base * float(1 << min(refusals - 1, 16))
    return min(doubled, LONGEST_WAIT) * (1 - jitter / 4)
