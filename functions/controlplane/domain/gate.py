"""The gate: does the challenger replace the champion? One verdict, one sentence.

Paired on the same frozen test rows: McNemar's test, exact (binomial) for few disagreements, else the chi-square with
continuity correction (McNemar 1947; Edwards 1948).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .models import Comparison, Metrics, Model

EXACT_UP_TO = 1000


@dataclass(frozen=True)
class Policy:
    """Shares from 0 to 1. A gain must be at least `min_gain` and not chance at `max_p`."""

    min_gain: float
    max_p: float
    max_class_loss: float
    max_calibration_loss: float


@dataclass(frozen=True)
class Verdict:
    promote: bool
    sentence: str


def mcnemar_p(only_challenger_right: int, only_champion_right: int) -> float:
    """Two-sided p-value that both models err equally often."""
    b, c = only_challenger_right, only_champion_right
    n = b + c
    if n == 0:
        return 1.0
    if n <= EXACT_UP_TO:
        tail = sum(math.comb(n, i) for i in range(min(b, c) + 1))
        return min(1.0, float(2 * tail / 2**n))
    chi_square = (abs(b - c) - 1) ** 2 / n
    return math.erfc(math.sqrt(chi_square / 2))


def decide(model: Model, champion: str | None, policy: Policy) -> Verdict:
    """Pure: the same manifest, champion and policy give the same verdict."""
    accuracy = _percent(model.metrics.accuracy)
    if champion is None:
        majority = _percent(model.metrics.majority_share)
        if model.metrics.accuracy > model.metrics.majority_share:
            return Verdict(
                True,
                f"First champion: right on {accuracy} of {model.metrics.rows} test rows, "
                f"against {majority} for always answering the commonest class.",
            )
        return Verdict(
            False, f"Right on {accuracy} of the test rows; always answering the commonest class is right on {majority}."
        )
    if model.comparison is None or model.comparison.champion != champion:
        compared = model.comparison.champion if model.comparison else "no model"
        return Verdict(
            False,
            f"It was compared with {compared}, but the champion is now {champion}. Drop more data to compare again.",
        )
    return _against(model.metrics, model.comparison, policy)


def _against(challenger: Metrics, comparison: Comparison, policy: Policy) -> Verdict:
    wins, losses = comparison.only_challenger_right, comparison.only_champion_right
    gain = (wins - losses) / max(1, comparison.rows)
    p = mcnemar_p(wins, losses)
    figures = (
        f"right on {_percent(challenger.accuracy)} of {comparison.rows} test rows, the champion "
        f"{comparison.champion} on {_percent(comparison.metrics.accuracy)} "
        f"({wins} rows won, {losses} lost, p = {p:.2g})"
    )
    if gain < policy.min_gain:
        return Verdict(False, f"Not better by {_points(policy.min_gain)}: {figures}.")
    if p > policy.max_p:
        return Verdict(False, f"The gain may be chance (p above {policy.max_p:g}): {figures}.")
    for label, before in sorted(comparison.metrics.per_class_recall.items()):
        after = challenger.per_class_recall.get(label)
        if before is not None and before - (after or 0.0) > policy.max_class_loss:
            return Verdict(
                False,
                f'Class "{label}" loses: found {_percent(after or 0.0)} of it, the champion '
                f"{_percent(before)}; otherwise {figures}.",
            )
    worse = challenger.calibration_error - comparison.metrics.calibration_error
    if worse > policy.max_calibration_loss:
        return Verdict(
            False,
            f"Its probabilities are less true (calibration error "
            f"{challenger.calibration_error:.3f}, the champion's "
            f"{comparison.metrics.calibration_error:.3f}); otherwise {figures}.",
        )
    return Verdict(True, f"Better by {_points(gain)}: {figures}.")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"
