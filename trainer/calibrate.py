"""Honest probabilities: the temperature that fits scores to rows that were not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch


def calibrated(scores: torch.Tensor, classes: torch.Tensor) -> tuple[float, float]:
    """The temperature that makes these scores the most honest, and the mean loss with it.

    A mild preference for temperature 1 (as much as one row has to say) keeps a handful of rows from making it extreme.
    """

    def loss(log_temperature: float) -> float:
        logs = (scores / math.exp(log_temperature)).log_softmax(1)
        return -float(logs.gather(1, classes[:, None]).double().mean())

    best = _minimum(lambda at: loss(at) + at * at / 2 / len(classes), -2.5, 2.5)
    return math.exp(best), loss(best)


def _minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """Golden-section search: where a function with one valley is lowest."""
    golden = (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(40):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = function(right)
    return (low + high) / 2
