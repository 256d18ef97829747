"""What a run costs: seconds on a machine times its price. Estimates are told as such."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Stint:
    """One attempt's time on its machine; prices in dollars per hour, None when the price was not to be had.

    `cause` is why it ended, in one word: see runs.cause_of.
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

    def seconds(self, now: datetime) -> float:
        return max(0.0, ((self.ended_at or now) - self.launched_at).total_seconds())

    def dollars(self, now: datetime) -> float | None:
        """EC2 bills by the second, 60 at the least (docs.aws.amazon.com/AWSEC2, "instance purchasing options")."""
        return None if self.price is None else self.price * max(60.0, self.seconds(now)) / 3600


def dollars(stints: tuple[Stint, ...], now: datetime) -> float | None:
    """The whole run's cost; None when one price is not known."""
    parts = [stint.dollars(now) for stint in stints]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def cost_sentence(stints: tuple[Stint, ...], now: datetime) -> str:
    total = dollars(stints, now)
    minutes = sum(stint.seconds(now) for stint in stints) / 60
    kinds = ", ".join(sorted({f"{stint.machine_type} {stint.lifecycle}" for stint in stints})) or "no machine"
    price = "at a price that EC2 did not tell" if total is None else f"for ${total:.4f}"
    return f"{minutes:.1f} machine minutes on {kinds} {price}"
