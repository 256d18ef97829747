"""The figures that the gate decides by, on rows that can be counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trainer.evaluate import Answers, calibration, comparison, confusion, metrics


def answers(truth: list[int], given: list[int], sure: list[float], chance: list[float]) -> Answers:
    confidence = np.array(sure)
    return Answers(["a", "b", "c"], np.array(truth), np.array(given), confidence, np.array(chance), confidence / 2)


FOUR = answers([0, 0, 0, 1], [0, 0, 1, 1], [0.9, 0.8, 0.6, 0.7], [0.9, 0.8, 0.4, 0.7])


def test_metrics_of_four_rows() -> None:
    told = metrics(FOUR)
    assert told["rows"] == 4
    assert told["accuracy"] == 0.75
    assert told["majority_share"] == 0.75
    assert told["macro_f1"] == pytest.approx((2 * 2 / (3 + 2) + 2 * 1 / (1 + 2)) / 2)
    assert told["log_loss"] == pytest.approx(-(math.log(0.9) + math.log(0.8) + math.log(0.4) + math.log(0.7)) / 4)
    assert told["per_class_recall"] == {"a": pytest.approx(2 / 3), "b": 1.0, "c": None}


def test_calibration_error_is_the_mean_gap_between_confidence_and_share_right() -> None:
    # Four bins of one row each: gaps 0.1, 0.2, 0.6 (wrong), 0.3.
    assert metrics(FOUR)["calibration_error"] == pytest.approx((0.1 + 0.2 + 0.6 + 0.3) / 4)
    certain = answers([0, 0], [0, 0], [1.0, 1.0], [1.0, 1.0])
    assert calibration(certain) == [(1.0, 1.0, 1.0)]


def test_a_truth_that_got_no_chance_has_a_finite_loss() -> None:
    assert metrics(answers([2], [0], [1.0], [0.0]))["log_loss"] == pytest.approx(-math.log(1e-15))


def test_a_comparison_counts_every_row_once() -> None:
    theirs = answers([0, 0, 0, 1], [1, 0, 0, 0], [0.9] * 4, [0.5] * 4)
    told = comparison("other", theirs, FOUR)
    assert [told[each] for each in ("both_right", "only_challenger_right", "only_champion_right", "both_wrong")] == [
        1,
        2,
        1,
        0,
    ]


def test_confusion_counts_truth_down_and_answers_across() -> None:
    told = confusion(FOUR, at_most=2)
    assert told["labels"] == ["a", "b"]
    assert told["counts"] == [[2, 1], [0, 1]]
    assert told["commonest_mistakes"] == [{"true": "a", "answered": "b", "rows": 1}]
