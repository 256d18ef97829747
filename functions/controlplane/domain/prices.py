"""What machines cost an hour: Spot by pool, on demand by type. A price that nobody told is None, and never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Any

KEPT = timedelta(days=1)  # on-demand prices change a few times a year


@dataclass(frozen=True)
class Quote:
    """What the price list said of one machine type on demand, in dollars an hour, and when it was asked."""

    machine_type: str
    dollars: float
    at: datetime

    def is_fresh(self, now: datetime) -> bool:
        return now - self.at < KEPT


@dataclass(frozen=True)
class PriceList:
    """Dollars an hour: `spot` by (type, zone), of every pool; `on_demand` by type."""

    spot: Mapping[tuple[str, str], float | None] = field(default_factory=dict)
    on_demand: Mapping[str, float | None] = field(default_factory=dict)

    def of(self, machine_type: str, zone: str, lifecycle: str) -> float | None:
        on_demand = self.on_demand.get(machine_type)
        return self.spot.get((machine_type, zone)) if lifecycle == "spot" else on_demand

    def usual(self, lifecycle: str = "spot") -> tuple[float, str] | None:
        """The price in the middle of those that are told, and of what; None when none is."""
        told = self.spot.values() if lifecycle == "spot" else self.on_demand.values()
        known = [price for price in told if price is not None]
        if known:
            kinds = "pools" if lifecycle == "spot" else "types"
            return median(known), f"the middle of {len(known)} {lifecycle} {kinds}"
        return None

    def for_the_spec(self) -> dict[str, Any]:
        """machine type -> zone -> both prices, as events/contracts/run_spec.json has them."""
        told: dict[str, Any] = {}
        for (kind, zone), spot in sorted(self.spot.items()):
            told.setdefault(kind, {})[zone] = {"spot": spot, "on_demand": self.on_demand.get(kind)}
        return told
