"""How good a model is on rows that it never saw, in the words of the contract `manifest`; and against the champion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.model_files import Model

BINS = 15
LEAST_PROBABILITY = 1e-15  # keeps the log-loss finite where a model gave the truth no chance


@dataclass(frozen=True)
class Answers:
    """One model's answers to some rows. `names` are all labels there are; labels are places in it."""

    names: list[str]
    truth: npt.NDArray[np.int64]
    answer: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]  # the probability of the answer
    chance: npt.NDArray[np.float64]  # the probability that was given to the truth
    margin: npt.NDArray[np.float64]  # how far the answer is ahead of the second best

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        return np.equal(self.answer, self.truth)


def ask(model: Model, texts: Iterable[str], classes: npt.NDArray[np.int64], labels: Sequence[str]) -> Answers:
    """The model's answers. `classes` are places in `labels`, which need not be the model's own labels."""
    names = [*labels, *(label for label in model.labels if label not in set(labels))]
    place = {label: number for number, label in enumerate(names)}
    name_of = np.array([place[label] for label in model.labels], dtype=np.int64)
    own = {label: number for number, label in enumerate(model.labels)}
    columns = [own.get(label) for label in labels]
    rows: list[tuple[int, float, float, float]] = []
    for scores, true in zip(model.answer(texts), classes, strict=True):
        column = columns[true]
        first = int(scores.argmax())
        second = float(np.partition(scores, -2)[-2])
        rows.append(
            (int(name_of[first]), float(scores[first]), 0.0 if column is None else float(scores[column]), second)
        )
    answer, confidence, chance, second_best = (np.array(each) for each in zip(*rows, strict=True))
    return Answers(names, classes, answer.astype(np.int64), confidence, chance, confidence - second_best)


def metrics(answers: Answers) -> dict[str, Any]:
    """What the gate decides by."""
    truth, answer, right = answers.truth, answers.answer, answers.right
    size = len(answers.names)
    rows = np.bincount(truth, minlength=size)
    hits = np.bincount(truth[right], minlength=size)
    answered = np.bincount(answer, minlength=size)
    # F1 = 2 hits / (rows + answered); a class without test rows has none.
    f1 = [2 * hits[each] / (rows[each] + answered[each]) for each in np.flatnonzero(rows)]
    return {
        "rows": len(truth),
        "accuracy": float(right.mean()),
        "majority_share": float(rows.max() / len(truth)),
        "macro_f1": float(np.mean(f1)),
        "log_loss": float(-np.log(np.clip(answers.chance, LEAST_PROBABILITY, 1)).mean()),
        "calibration_error": float(sum(abs(share - sure) * weight for share, sure, weight in calibration(answers))),
        "per_class_recall": {
            name: float(hits[each] / rows[each]) if rows[each] else None for each, name in enumerate(answers.names)
        },
    }


def calibration(answers: Answers) -> list[tuple[float, float, float]]:
    """For each of 15 equal bins of confidence that has rows: share right, mean confidence, share of all rows."""
    bins = np.minimum((answers.confidence * BINS).astype(int), BINS - 1)
    return [
        (
            float(answers.right[bins == each].mean()),
            float(answers.confidence[bins == each].mean()),
            float((bins == each).mean()),
        )
        for each in np.unique(bins)
    ]


def comparison(champion: str, theirs: Answers, ours: Answers) -> dict[str, Any]:
    """The same rows, answered by both."""
    both = Counter(zip(ours.right.tolist(), theirs.right.tolist(), strict=True))
    return {
        "champion": champion,
        "metrics": metrics(theirs),
        "both_right": both[True, True],
        "only_challenger_right": both[True, False],
        "only_champion_right": both[False, True],
        "both_wrong": both[False, False],
    }


def confusion(answers: Answers, at_most: int = 25) -> dict[str, Any]:
    """Who was taken for whom: counts by true class (rows) and answer (columns), of the commonest classes."""
    shown = np.sort(np.argsort(-np.bincount(answers.truth, minlength=len(answers.names)), kind="stable")[:at_most])
    pairs = Counter(zip(answers.truth.tolist(), answers.answer.tolist(), strict=True))
    mistakes = [(count, true, given) for (true, given), count in pairs.items() if true != given]
    mistakes.sort(key=lambda each: (-each[0], each[1], each[2]))
    return {
        "labels": [answers.names[each] for each in shown],
        "counts": [[pairs[int(true), int(given)] for given in shown] for true in shown],
        "commonest_mistakes": [
            {"true": answers.names[true], "answered": answers.names[given], "rows": count}
            for count, true, given in mistakes[:20]
        ],
    }
