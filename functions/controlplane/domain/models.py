"""A model: what a run published, as its manifest tells it (events/contracts/manifest.json)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


class BadManifest(ValueError):
    """The manifest is not what the contract says; the model does not exist for us."""


@dataclass(frozen=True)
class Metrics:
    """On the frozen test split; shares from 0 to 1, `log_loss` in nats."""

    rows: int
    accuracy: float
    majority_share: float
    calibration_error: float
    per_class_recall: Mapping[str, float | None]

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Metrics:
        return cls(
            rows=int(raw["rows"]),
            accuracy=float(raw["accuracy"]),
            majority_share=float(raw["majority_share"]),
            calibration_error=float(raw["calibration_error"]),
            per_class_recall=dict(raw["per_class_recall"]),
        )


@dataclass(frozen=True)
class Comparison:
    """Champion and challenger on the same rows."""

    champion: str
    metrics: Metrics
    only_challenger_right: int
    only_champion_right: int
    rows: int


@dataclass(frozen=True)
class Model:
    run_id: str
    dataset: str
    snapshot_digest: str
    metrics: Metrics
    comparison: Comparison | None
    metrics_sha256: str
    rows_accepted: int
    rows_rejected: int
    recipe: str
    seconds: float
    created_at: datetime
    resumed: bool
    attempt: int

    @classmethod
    def from_manifest(cls, raw: Mapping[str, Any]) -> Model:
        """Raises BadManifest, naming the field."""
        try:
            if raw["contract"] != 1:
                raise BadManifest(f"contract {raw['contract']!r} is not one that this control plane knows (1)")
            comparison = None
            if told := raw["comparison"]:
                cells = ("both_right", "only_challenger_right", "only_champion_right", "both_wrong")
                comparison = Comparison(
                    champion=told["champion"],
                    metrics=Metrics.from_dict(told["metrics"]),
                    only_challenger_right=int(told["only_challenger_right"]),
                    only_champion_right=int(told["only_champion_right"]),
                    rows=sum(int(told[cell]) for cell in cells),
                )
            created_at = datetime.fromisoformat(raw["created_at"])
            if created_at.tzinfo is None:
                raise BadManifest(f"created_at has no time zone: {raw['created_at']}; end it with Z")
            return cls(
                run_id=raw["run_id"],
                dataset=raw["dataset"],
                snapshot_digest=raw["snapshot_digest"],
                metrics=Metrics.from_dict(raw["metrics"]),
                comparison=comparison,
                metrics_sha256=raw["files"]["metrics.json"]["sha256"],
                rows_accepted=int(raw["rows"]["accepted"]),
                rows_rejected=int(raw["rows"]["rejected"]),
                recipe=str(raw["recipe"]),
                seconds=float(raw["seconds"]),
                created_at=created_at,
                resumed=raw.get("resumed") is not None,
                attempt=int(raw["attempt"]),
            )
        except BadManifest:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as fault:
            raise BadManifest(f"the manifest lacks or mistypes {fault}") from fault
