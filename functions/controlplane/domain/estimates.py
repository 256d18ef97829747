"""What a run will take, before it starts: rows, times what a row took last time, times the Spot price.

A recipe's reference curve says what so many rows take; what a run of the dataset (or else of the recipe) really took,
as a share of its curve, corrects it. So a first run of 200 rows says nothing false about the next one of 5 million.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from .drops import Drop
from .models import Model
from .money import Stint
from .prices import PriceList

BOOT_SECONDS = 90.0  # from the launch to the trainer's start, before a run has shown it
LEAST_ROW = 8  # bytes: text, comma, label, line end


@dataclass(frozen=True)
class Curve:
    """Seconds of a recipe for so many rows: `start` + rows * `row`; and where that was measured."""

    start: float
    row: float
    source: str

    def seconds(self, rows: int) -> float:
        return self.start + rows * self.row


CURVES = {
    "linear": Curve(15, 0.0012, "25,000 film reviews in 45 s on two cores"),
    "transformer": Curve(60, 0.3, "a small encoder on two cores, 10 rows a second and pass"),
}


@dataclass(frozen=True)
class Pace:
    """What one whole run took, from its manifest: `boot` is from its launch to the trainer's start."""

    run_id: str
    dataset: str
    recipe: str
    rows: int
    bytes: int
    seconds: float
    boot: float
    at: datetime


@dataclass(frozen=True)
class Estimate:
    """`dollars` None: no price is told. `how` is a sentence for people."""

    rows: int
    minutes: float
    dollars: float | None
    how: str


def pace_of(model: Model, stints: Sequence[Stint], size: int) -> Pace | None:
    """What the run measured; None when it did not begin at the beginning, or not on a machine that we know."""
    if model.resumed or not stints or not model.rows_accepted:
        return None
    up = (model.created_at - stints[-1].launched_at).total_seconds()
    return Pace(
        run_id=model.run_id,
        dataset=model.dataset,
        recipe=model.recipe,
        rows=model.rows_accepted,
        bytes=size,
        seconds=model.seconds,
        boot=max(0.0, up - model.seconds),
        at=model.created_at,
    )


def rows_of(drops: Iterable[Drop], pace: Pace | None) -> tuple[int, str]:
    """How many rows, and how that is known: from the heads of the files, or from the last run's bytes per row."""
    drops = list(drops)
    size = sum(drop.size for drop in drops)
    if drops and all(drop.row_bytes for drop in drops):
        rows = sum(max(1, round(drop.size / max(LEAST_ROW, drop.row_bytes))) for drop in drops)
        return rows, f"about {rows:,} rows by the mean length of the first ones"
    if pace and pace.rows and pace.bytes:
        rows = max(1, round(size * pace.rows / pace.bytes))
        return rows, f"about {rows:,} rows by the bytes a row of run {pace.run_id}"
    return 0, "an unknown number of rows"


def estimate(drops: Iterable[Drop], recipe: str, paces: Sequence[Pace], prices: PriceList) -> Estimate | None:
    """None when nothing is known to reckon from: neither a curve of the recipe nor a run of it, or no rows."""
    dataset_first = sorted(paces, key=lambda pace: pace.at, reverse=True)
    drops = list(drops)
    own = next((p for p in dataset_first if drops and p.dataset == drops[0].dataset), None)
    pace = own or next(iter(dataset_first), None)
    rows, counted = rows_of(drops, own)
    curve = CURVES.get(recipe)
    if not rows or (curve is None and pace is None):
        return None
    if pace is None:
        assert curve
        seconds, boot, known = curve.seconds(rows), BOOT_SECONDS, f"{recipe}'s reference ({curve.source})"
    elif curve is None:
        seconds, boot, known = pace.seconds * rows / pace.rows, pace.boot, f"the pace of run {pace.run_id}"
    else:
        seconds = curve.seconds(rows) * pace.seconds / curve.seconds(pace.rows)
        boot, known = pace.boot, f"the pace of run {pace.run_id} ({pace.rows:,} rows in {pace.seconds:.0f} s)"
    total = boot + seconds
    usual = prices.usual()
    price = f"at ${usual[0]:.4f} an hour, {usual[1]}" if usual else "at a Spot price that EC2 did not tell"
    dollars = usual[0] * max(60.0, total) / 3600 if usual else None
    how = f"{counted}; {boot:.0f} s to boot, then {known}; {price}"
    return Estimate(rows, round(total / 60, 2), None if dollars is None else round(dollars, 6), how)
