"""The recipe `linear`: regression over n-grams scaled by Naive Bayes, the strongest of the fast ones.

A text is the set of its n-grams, each weighted by its rarity (idf) and by how surely it speaks for a class (log-count
ratio), the text's length normalised away. linear_fit.py learns from these; a temperature fitted on validation makes its
probabilities honest.

Known downside: word order beyond the n-gram is not seen. `threads` is fixed, so that the same rows give the same
weights and a resumed fit ends as one never interrupted. After an interruption the features are made again: that takes
seconds, and a checkpoint stays small.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer import card, export, ngrams
from trainer.calibrate import calibrated
from trainer.dataset import Dataset
from trainer.errors import Failed
from trainer.features import STRIP_PATTERN, TOKEN_PATTERN, Encoded, Featurizer
from trainer.linear_fit import Fit
from trainer.linear_knobs import Knobs
from trainer.recipe import Work
from trainer.split import TRAIN, VALIDATION

__all__ = ["Fit", "Knobs", "Task", "calibrated", "fingerprint", "new_fit", "prepare", "profile_features", "words"]

# Bounds the model's files and the memory: with many classes the vocabulary becomes smaller.
WEIGHTS_AT_MOST = 12_000_000


@dataclass(frozen=True)
class Task:
    """What the fit learns from."""

    featurizer: Featurizer
    features: list[str]
    classes: int
    train: Encoded
    validation: Encoded
    seen: torch.Tensor  # in how many training texts each feature stands


def prepare(dataset: Dataset, knobs: Knobs, seed: int, work: Work) -> Task:
    """Read the texts as numbers, count the n-grams, keep the commonest, and encode the texts with them."""
    featurizer = Featurizer(STRIP_PATTERN, True, TOKEN_PATTERN, knobs.max_tokens, tuple(range(1, knobs.ngrams + 1)))
    rows = dataset.rows_by_part()
    lost = "nothing new is saved, the features are made again"
    work.journal.phase("training", "rows", rows["train"] + rows["validation"])
    watched = work.watched(rows["train"] + rows["validation"], lost)
    known = ngrams.Words()
    reader = ngrams.Reader(featurizer, work.folder, knobs.max_words)
    chance = np.random.default_rng(seed).random(rows["train"] + rows["validation"])
    train_texts = reader.training(watched(dataset.texts(TRAIN)), chance[: rows["train"]], known)
    validation_texts = reader.validation(watched(dataset.texts(VALIDATION)), chance[rows["train"] :], known)
    if len(train_texts) < rows["train"]:
        work.journal.say(f"more than {knobs.max_words:,} words: {len(train_texts):,} of the training rows are used")

    total = (2 * knobs.ngrams + 1) * len(train_texts) + (knobs.ngrams + 1) * len(validation_texts)
    tell = _telling(work, total, lost)
    train_texts, validation_texts = replace(train_texts, tell=tell), replace(validation_texts, tell=tell)
    at_most = min(knobs.max_features, WEIGHTS_AT_MOST // len(dataset.labels))
    vocabulary = ngrams.learn(train_texts, known, knobs.ngrams, knobs.min_count, at_most)
    if not vocabulary.features:
        raise Failed(
            f"No word stands in {knobs.min_count} training texts: there is nothing to learn from. Lower 'min_count'."
        )
    del known
    for size in range(1, knobs.ngrams + 1):
        ngrams.number(validation_texts, vocabulary.tables, size)
    train = ngrams.encode(train_texts, vocabulary, dataset.classes(TRAIN))
    validation = ngrams.encode(validation_texts, vocabulary, dataset.classes(VALIDATION))
    train_texts.delete()
    validation_texts.delete()
    work.journal.say(
        f"features: {len(vocabulary.features):,} n-grams, {len(train.ids):,} in {len(train):,} training texts"
    )
    seen = torch.from_numpy(vocabulary.seen).float()
    return Task(featurizer, vocabulary.features, len(dataset.labels), train, validation, seen)


def _telling(work: Work, total: int, lost: str) -> Callable[[int], None]:
    """Tells the progress of the passes over all texts, block by block."""
    done = 0
    work.journal.phase("training", "rows", total)

    def tell(texts: int) -> None:
        nonlocal done
        work.journal.step(done, done / total if total else None, "counting n-grams")
        work.watch.end_if_told(lost)
        done += texts

    return tell


def new_fit(task: Task, knobs: Knobs) -> Fit:
    return Fit(task.train, task.validation, len(task.features), task.classes, knobs)


def write_model(folder: Path, task: Task, fit: Fit, dataset: Dataset) -> None:
    export.write_model(folder, fit.weights(), task.features, dataset.labels, task.featurizer)


def fingerprint(task: Task) -> str:
    return hashlib.sha256("\n".join(task.features).encode()).hexdigest()


def words(task: Task, fit: Fit) -> list[list[str]]:
    return card.top_words(fit.weights(), task.features, task.seen)


def profile_features(task: Task) -> tuple[dict[str, float], int, list[dict[str, Any]]]:
    commonest = [number for number, feature in enumerate(task.features) if " " not in feature][:50]
    tokens = [{"token": task.features[each], "share": float(task.seen[each]) / len(task.train)} for each in commonest]
    lengths = np.diff(task.train.offsets)
    quantiles = {f"{share:g}": float(np.quantile(lengths, share)) for share in (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)}
    return quantiles, len(task.features), tokens
