"""What the recipe `transformer` learns from: texts as token ids on the disk, and the order in which they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.encoder_files import EncoderFiles

# Batches that are drawn together, so that rows of similar length meet.
BUCKET = 50


class Rows:
    """Texts as token ids, on the disk: the ids of all texts in a row, and where each text begins."""

    def __init__(self, path: Path, lengths: list[int], classes: npt.NDArray[np.int64]) -> None:
        self.lengths = np.array(lengths, dtype=np.int64)
        self.classes = classes
        self._begins = np.concatenate([[0], np.cumsum(self.lengths)])
        self._ids = np.memmap(path, dtype=np.int32, mode="r")

    def __len__(self) -> int:
        return len(self.lengths)

    def ids(self, row: int) -> npt.NDArray[np.int32]:
        return self._ids[self._begins[row] : self._begins[row + 1]]


@dataclass(frozen=True)
class Task:
    """What the fit learns from."""

    files: EncoderFiles
    labels: int
    seed: int
    train: Rows
    validation: Rows


def order(lengths: npt.NDArray[np.int64], size: int, seed: int, epoch: int) -> list[npt.NDArray[np.int64]]:
    """The epoch's batches: rows of similar length together, all else at random. Depends on (seed, epoch) alone."""
    random = np.random.default_rng([seed % 2**63, epoch])
    rows = random.permutation(len(lengths))
    batches: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(rows), BUCKET * size):
        some = rows[start : start + BUCKET * size]
        some = some[np.argsort(lengths[some], kind="stable")]
        batches += [some[at : at + size] for at in range(0, len(some), size)]
    return [batches[each] for each in random.permutation(len(batches))]


def some_of_validation(task: Task, at_most: int) -> list[int]:
    """The validation rows that are read: all, or a fixed choice; by length, so that little is padding."""
    rows: Iterator[int] | npt.NDArray[np.int64] = np.arange(len(task.validation))
    if len(task.validation) > at_most:
        rows = np.random.default_rng(task.seed % 2**63).choice(len(task.validation), at_most, replace=False)
    return sorted((int(row) for row in rows), key=lambda row: (task.validation.lengths[row], row))


def chunks(some: Iterable[Any], size: int) -> Iterator[list[Any]]:
    through = iter(some)
    while chunk := list(islice(through, size)):
        yield chunk
