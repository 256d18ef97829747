"""The local cloud's prices, Spot and on demand: a written table, not a market.

The figures are of the size that us-east-1 shows for Linux; they do not move. A type that is not in the table has no
price, as on AWS a type that is not offered has none. Each zone differs a little, so that a choice between zones means
something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

PRODUCT = "Linux/UNIX"
ZONES = ("a", "b", "c")
ZONE_FACTOR = {"a": 1.0, "b": 1.04, "c": 0.97}

# USD an hour in zone a: (Spot, on demand)
HOURLY = {
    "t3.medium": (0.0166, 0.0416), "t3.large": (0.0329, 0.0832), "t3.xlarge": (0.0666, 0.1664),
    "t3a.large": (0.0298, 0.0752), "t3a.xlarge": (0.0602, 0.1504),
    "m5.large": (0.0387, 0.0960), "m5.xlarge": (0.0782, 0.1920), "m5.2xlarge": (0.1571, 0.3840),
    "m5a.large": (0.0349, 0.0860), "m5a.xlarge": (0.0703, 0.1720),
    "m6i.large": (0.0376, 0.0960), "m6i.xlarge": (0.0759, 0.1920), "m6i.2xlarge": (0.1528, 0.3840),
    "m6a.large": (0.0332, 0.0864), "m6a.xlarge": (0.0671, 0.1728), "m6a.2xlarge": (0.1349, 0.3456),
    "m7i.large": (0.0401, 0.1008), "m7i.xlarge": (0.0808, 0.2016), "m7a.large": (0.0452, 0.1159),
    "m7i-flex.large": (0.0379, 0.0958), "m7i-flex.xlarge": (0.0764, 0.1915),
    "c5.large": (0.0351, 0.0850), "c5.xlarge": (0.0702, 0.1700), "c5.2xlarge": (0.1411, 0.3400),
    "c5a.large": (0.0309, 0.0770), "c5a.xlarge": (0.0624, 0.1540),
    "c6i.large": (0.0344, 0.0850), "c6i.xlarge": (0.0692, 0.1700), "c6i.2xlarge": (0.1389, 0.3400),
    "c6a.large": (0.0301, 0.0765), "c6a.xlarge": (0.0611, 0.1530), "c6a.2xlarge": (0.1227, 0.3060),
    "c7i.large": (0.0358, 0.0893), "c7i.xlarge": (0.0716, 0.1785), "c7a.large": (0.0410, 0.1026),
    "c7i-flex.large": (0.0339, 0.0848), "c7i-flex.xlarge": (0.0678, 0.1696),
    "r5.large": (0.0501, 0.1260), "r5.xlarge": (0.1008, 0.2520),
    "r6i.large": (0.0489, 0.1260), "r6i.xlarge": (0.0979, 0.2520),
    "g4dn.xlarge": (0.2104, 0.5260), "g4dn.2xlarge": (0.3008, 0.7520),
    "g5.xlarge": (0.4024, 1.0060), "g5.2xlarge": (0.4848, 1.2120),
    "g6.xlarge": (0.3219, 0.8048), "g6.2xlarge": (0.3910, 0.9776),
}  # fmt: skip


@dataclass(frozen=True)
class SpotPrice:
    instance_type: str
    zone: str
    price: str
    timestamp: str


def hourly(instance_type: str, zone: str, lifecycle: str) -> float | None:
    """Dollars an hour in a zone (`us-east-1a`); None for a type that the table does not have."""
    if instance_type not in HOURLY:
        return None
    spot, on_demand = HOURLY[instance_type]
    return spot * ZONE_FACTOR.get(zone[-1:], 1.0) if lifecycle == "spot" else on_demand


def spot_prices(
    region: str, now: datetime, *, types: Sequence[str] = (), zones: Sequence[str] = (), products: Sequence[str] = ()
) -> list[SpotPrice]:
    """The price of each wanted type in each wanted zone; all of them where nothing is named."""
    if products and not any(product.startswith(PRODUCT) for product in products):
        return []
    hour = now.replace(minute=0, second=0, microsecond=0).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return [
        SpotPrice(kind, f"{region}{letter}", f"{spot * ZONE_FACTOR[letter]:.6f}", hour)
        for kind, (spot, _) in HOURLY.items()
        if not types or kind in types
        for letter in ZONES
        if not zones or f"{region}{letter}" in zones
    ]
