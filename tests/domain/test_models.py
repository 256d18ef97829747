"""A manifest becomes a model, or it is refused with the field's name."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from controlplane.domain.models import BadManifest, Model

METRICS = {
    "rows": 10,
    "accuracy": 0.9,
    "majority_share": 0.5,
    "macro_f1": 0.9,
    "log_loss": 0.3,
    "calibration_error": 0.01,
    "per_class_recall": {"neg": 0.9, "pos": None},
}
MANIFEST: dict[str, Any] = {
    "contract": 1,
    "run_id": "films-1",
    "dataset": "films",
    "snapshot_digest": "sha256:0",
    "files": {"metrics.json": {"sha256": "abc", "bytes": 3}},
    "rows": {"accepted": 100, "rejected": 2, "duplicates": 0, "train": 80, "validation": 10, "test": 10},
    "metrics": METRICS,
    "comparison": None,
    "recipe": "linear",
    "seconds": 21.4,
    "created_at": "2026-01-01T00:00:00Z",
    "resumed": None,
    "attempt": 1,
}
COMPARISON = {
    "champion": "films-0",
    "metrics": METRICS,
    "both_right": 7,
    "only_challenger_right": 2,
    "only_champion_right": 1,
    "both_wrong": 0,
}


def changed(**fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(MANIFEST), **fields}


def test_a_manifest_becomes_a_model() -> None:
    model = Model.from_manifest(MANIFEST)
    assert (model.run_id, model.metrics.accuracy, model.comparison) == ("films-1", 0.9, None)
    assert model.metrics_sha256 == "abc"
    assert (model.rows_accepted, model.rows_rejected) == (100, 2)
    assert (model.recipe, model.seconds, model.resumed) == ("linear", 21.4, False)


def test_a_comparison_counts_all_its_rows() -> None:
    comparison = Model.from_manifest(changed(comparison=COMPARISON)).comparison
    assert comparison and comparison.rows == 10
    assert (comparison.only_challenger_right, comparison.only_champion_right) == (2, 1)


def test_fields_that_nobody_knows_are_ignored() -> None:
    assert Model.from_manifest(changed(new_field=1)) == Model.from_manifest(MANIFEST)


@pytest.mark.parametrize("field", sorted(set(MANIFEST) - {"comparison", "resumed"}))
def test_a_missing_field_is_named(field: str) -> None:
    without = {name: value for name, value in MANIFEST.items() if name != field}
    with pytest.raises(BadManifest, match=field):
        Model.from_manifest(without)


@pytest.mark.parametrize(
    "fields",
    [{"metrics": None}, {"files": []}, {"rows": {"accepted": None, "rejected": 0}}, {"comparison": {"champion": "x"}}],
)
def test_a_mistyped_field_is_a_bad_manifest(fields: dict[str, Any]) -> None:
    with pytest.raises(BadManifest):
        Model.from_manifest(changed(**fields))


def test_another_contract_is_refused() -> None:
    with pytest.raises(BadManifest, match="contract 2"):
        Model.from_manifest(changed(contract=2))


def test_a_number_that_is_none_says_what_is_wrong() -> None:
    with pytest.raises(BadManifest, match="the manifest lacks or mistypes"):
        Model.from_manifest(changed(metrics={**METRICS, "accuracy": "high"}))
