"""What a run cost: seconds on a machine times its price; and what the same would have cost on demand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Stint:
    """One attempt's time on its machine; prices in dollars per hour, None when the price was not to be had.

    `cause` is why it ended in one word (see runs.cause_of), `why_ended` in the trainer's words or ours. The attempt may
    be over (`ended_at`) before its machine is `gone`; then the end of the machine is what is billed.
    """

    attempt: int
    machine: str
    machine_type: str
    zone: str
    lifecycle: str
    price: float | None
    launched_at: datetime
    ended_at: datetime | None = None
    subnet: str = ""
    cause: str = ""
    on_demand: float | None = None
    why_ended: str = ""
    gone: bool = False

    def seconds(self, now: datetime) -> float:
        return max(0.0, ((self.ended_at or now) - self.launched_at).total_seconds())

    def dollars(self, now: datetime) -> float | None:
        return _cost(self.price, self.seconds(now))

    def on_demand_dollars(self, now: datetime) -> float | None:
        return _cost(self.on_demand, self.seconds(now))


@dataclass(frozen=True)
class Bill:
    """What one machine cost in all; counted in the month in which it began. None: its price was not told."""

    machine: str
    run_id: str
    dollars: float | None
    month: str


def _cost(price: float | None, seconds: float) -> float | None:
    """EC2 bills by the second, 60 at the least (docs.aws.amazon.com/AWSEC2, "instance purchasing options")."""
    return None if price is None else price * max(60.0, seconds) / 3600


def bills(run_id: str, stints: Iterable[Stint]) -> list[Bill]:
    """Of the machines that have ended; each counts once however often it is written, for its machine is its name."""
    return [
        Bill(stint.machine, run_id, stint.dollars(stint.ended_at), f"{stint.launched_at:%Y-%m}")
        for stint in stints
        if stint.ended_at
    ]


def dollars(stints: Iterable[Stint], now: datetime) -> float | None:
    """The whole run's cost; None when one price is not known."""
    return _sum(stint.dollars(now) for stint in stints)


def on_demand_dollars(stints: Iterable[Stint], now: datetime) -> float | None:
    """What the same minutes would have cost on demand; None when one price is not known."""
    return _sum(stint.on_demand_dollars(now) for stint in stints)


def known_dollars(stints: Iterable[Stint], now: datetime) -> float:
    """What can be counted: machines without a known price are left out."""
    return sum(stint.dollars(now) or 0.0 for stint in stints)


def hours(stints: Iterable[Stint], now: datetime) -> float:
    return sum(stint.seconds(now) for stint in stints) / 3600


def _sum(parts: Iterable[float | None]) -> float | None:
    told = list(parts)
    known = [part for part in told if part is not None]
    return sum(known) if len(known) == len(told) else None


def cost_sentence(stints: tuple[Stint, ...], now: datetime) -> str:
    total, otherwise = dollars(stints, now), on_demand_dollars(stints, now)
    kinds = ", ".join(sorted({f"{stint.machine_type} {stint.lifecycle}" for stint in stints})) or "no machine"
    price = "at a price that EC2 did not tell" if total is None else f"for ${total:.4f}"
    told = f"{60 * hours(stints, now):.1f} machine minutes on {kinds} {price}"
    if not stints or otherwise is None:
        return told + ("; what it would have cost on demand is not known" if stints else "")
    return f"{told}; on demand it would have cost ${otherwise:.4f}"
