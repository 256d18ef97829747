"""The run card: what became of a run, what it took and cost; as JSON (events/contracts/run_card.json)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from .estimates import Estimate
from .money import Stint, dollars, hours, on_demand_dollars
from .runs import Run


def card(run: Run, manifest: Mapping[str, Any] | None, links: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """Machines that still run are counted until now; the card is written again when the last one has ended."""
    cost, otherwise = dollars(run.stints, now), on_demand_dollars(run.stints, now)
    return {
        "contract": 1,
        "run_id": run.run_id,
        "dataset": run.dataset,
        "state": run.state.value,
        "reason": run.reason,
        "created_at": run.created_at.isoformat(),
        "ended_at": (run.ended_at or now).isoformat(),
        "attempts": [_attempt(stint, now) for stint in run.stints],
        "minutes": round(60 * hours(run.stints, now), 2),
        "dollars": _money(cost),
        "on_demand_dollars": _money(otherwise),
        "saved_dollars": None if cost is None or otherwise is None else _money(otherwise - cost),
        "estimate": _estimate(run.estimate),
        "metrics": dict(manifest["metrics"]) if manifest else None,
        "links": dict(links),
    }


def _attempt(stint: Stint, now: datetime) -> dict[str, Any]:
    return {
        "attempt": stint.attempt,
        "machine": stint.machine,
        "type": stint.machine_type,
        "zone": stint.zone,
        "lifecycle": stint.lifecycle,
        "minutes": round(stint.seconds(now) / 60, 2),
        "dollars": _money(stint.dollars(now)),
        "on_demand_dollars": _money(stint.on_demand_dollars(now)),
        "ended": stint.why_ended if stint.ended_at else "still up when this was written",
    }


def _estimate(told: Estimate | None) -> dict[str, Any] | None:
    return None if told is None else {"minutes": told.minutes, "dollars": _money(told.dollars), "how": told.how}


def _money(amount: float | None) -> float | None:
    return None if amount is None else round(amount, 6)


LINKED = (
    ("model card", "models/{run}/model-card.md"),
    ("manifest", "models/{run}/manifest.json"),
    ("rejected rows", "processed/{run}/rejected.html"),
    ("profile of the data", "processed/{run}/profile.json"),
    ("spec", "runs/{run}/spec.json"),
)


def links_of(run_id: str, keys: Iterable[str]) -> dict[str, str]:
    """name -> key, of what is really there. Plots: of the newest attempt that has some; every attempt has its logs."""
    there = set(keys)
    links = {name: key for name, place in LINKED if (key := place.format(run=run_id)) in there}
    logs = sorted((key for key in there if key.startswith(f"logs/{run_id}/")), key=_by_attempt)
    plots = [key for key in logs if "/plots/" in key and key.endswith(".png")]
    newest = plots[-1].split("/")[2] if plots else ""
    for key in plots:
        if key.split("/")[2] == newest:
            links[f"plot: {_plain(key)}"] = key
    for key in logs:
        if key.endswith(("/train.log", "/boot.log")):
            links[f"attempt {key.split('/')[2]}: {key.rsplit('/', 1)[-1]}"] = key
    return links


def _by_attempt(key: str) -> tuple[int, str]:
    attempt = key.split("/")[2]
    return (int(attempt) if attempt.isdigit() else 0, key)


def _plain(key: str) -> str:
    return key.rsplit("/", 1)[-1].removesuffix(".png").replace("-", " ").replace("_", " ")
