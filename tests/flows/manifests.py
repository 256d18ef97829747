"""The manifest of a model, as a trainer publishes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from controlplane.domain.runs import Run


def manifest_of(
    run: Run, *, at: datetime, champion: str | None, wins: int, losses: int, accuracy: float
) -> dict[str, Any]:
    """`wins` and `losses` are rows that only the challenger, or only the champion, got right."""
    metrics = {
        "rows": 1000,
        "majority_share": 0.5,
        "calibration_error": 0.03,
        "per_class_recall": {"neg": accuracy, "pos": accuracy},
        "accuracy": accuracy,
        "macro_f1": accuracy,
        "log_loss": 0.4,
    }
    comparison = champion and {
        "champion": champion,
        "metrics": {**metrics, "accuracy": 0.8, "per_class_recall": {"neg": 0.8, "pos": 0.8}},
        "both_right": 740,
        "only_challenger_right": wins,
        "only_champion_right": losses,
        "both_wrong": 260 - wins - losses,
    }
    return {
        "contract": 1,
        "run_id": run.run_id,
        "dataset": run.dataset,
        "snapshot_digest": run.digest,
        "files": {"metrics.json": {"sha256": "abc", "bytes": 3}},
        "rows": {"accepted": 10000, "rejected": 0, "duplicates": 0, "train": 8000, "validation": 1000, "test": 1000},
        "metrics": metrics,
        "comparison": comparison,
        "labels": ["neg", "pos"],
        "recipe": "linear",
        "knobs": {},
        "seed": 17,
        "trainer_version": "local",
        "machine": {"id": run.machine, "type": "c6i.large", "zone": "eu-west-1a", "lifecycle": "spot"},
        "attempt": run.attempt,
        "resumed": None,
        "data_shift": None,
        "seconds": 30.0,
        "created_at": at.isoformat(),
    }
