"""`runs/<run id>/spec.json` -> what the machine is to do, checked. A spec that cannot be obeyed is a Failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainer.errors import Failed
from trainer.store import Store


@dataclass(frozen=True)
class SnapshotObject:
    key: str
    version_id: str | None
    etag: str
    bytes: int


@dataclass(frozen=True)
class Spec:
    run_id: str
    dataset: str
    snapshot_digest: str
    objects: tuple[SnapshotObject, ...]
    text_column: str | None
    label_column: str | None
    champion: str | None
    baseline: str | None  # the run whose profile.json the data is compared with
    recipe: str
    knobs: dict[str, Any]
    seed: int
    max_rejected_share: float
    max_data_shift: float  # 1 = only told, never refused
    max_hours: float
    max_cost: float | None  # US dollars; None = no cap
    prices: dict[str, dict[str, dict[str, float | None]]]  # type -> zone -> "spot", "on_demand" -> US dollars an hour
    test_keys: frozenset[str] = frozenset()  # objects that are the test set; all others train. Only when training alone

    def price_of(self, machine: dict[str, str]) -> float | None:
        """What an hour of that machine costs, in US dollars; None when it was not told."""
        told = self.prices.get(machine["type"], {}).get(machine["zone"], {})
        return told.get("spot" if machine["lifecycle"] == "spot" else "on_demand")


def read_spec(store: Store, run_id: str) -> Spec:
    key = f"runs/{run_id}/spec.json"
    try:
        given = store.get_json(key)
    except KeyError as missing:
        raise Failed(
            f"{key} is not in the bucket; the control plane writes it before it asks for a machine."
        ) from missing
    except ValueError as broken:
        raise Failed(f"{key} is not JSON.") from broken
    try:
        if given["contract"] != 1:
            raise Failed(f"{key} is of contract {given['contract']}; this trainer knows contract 1.")
        limits = given["limits"]
        # What came later into contract 1 may be missing in a spec that an older control plane wrote.
        spec = Spec(
            run_id=given["run_id"],
            dataset=given["dataset"],
            snapshot_digest=given["snapshot"]["digest"],
            objects=tuple(SnapshotObject(**each) for each in given["snapshot"]["objects"]),
            text_column=given["columns"]["text"],
            label_column=given["columns"]["label"],
            champion=given["champion"],
            baseline=given.get("baseline"),
            recipe=given["recipe"],
            knobs=dict(given["knobs"]),
            seed=int(given["seed"]),
            max_rejected_share=float(limits["max_rejected_share"]),
            max_data_shift=float(limits.get("max_data_shift", 1)),
            max_hours=float(limits["max_hours"]),
            max_cost=None if limits.get("max_cost") is None else float(limits["max_cost"]),
            prices=limits.get("prices") or {},
        )
    except (KeyError, TypeError, ValueError) as fault:
        raise Failed(f"{key} does not follow its contract ({type(fault).__name__}: {fault}).") from fault
    if spec.run_id != run_id:
        raise Failed(f"{key} is the spec of run {spec.run_id}, not of {run_id}.")
    return spec
