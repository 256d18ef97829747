"""Which rows train, which validate, which test: decided by a row's text alone.

The same text is always on the same side, in any file, in any later snapshot of the dataset; so the test rows are never
learnt from, and two models of one dataset can be compared on the same rows. Where a small dataset would leave
validation or test without two classes, `by_class` divides it instead; then a row's side may move when the dataset
grows, and the model card says so.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

PARTS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
_TRAIN_UNTIL, _VALIDATION_UNTIL = 0.8, 0.9
_TAGS = re.compile(r"<[^>]{0,200}>")

MARK = np.dtype([("high", ">u8"), ("low", ">u8")])  # a fingerprint's 16 bytes
Marks = npt.NDArray[Any]


def normalised(text: str) -> str:
    """What counts as the same text: without tags, case, and differences of white space or of Unicode form."""
    if "<" in text:
        text = _TAGS.sub(" ", text)
    text = text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()
    # White space other than a single blank is not printable, or doubled: without it there is nothing to make even.
    if text.isprintable() and "  " not in text:
        return text.strip()
    return " ".join(text.split())


def fingerprint(dataset: str, normalised_text: str) -> bytes:
    return hashlib.sha256(f"{dataset}\n{normalised_text}".encode()).digest()[:16]


def marks_of(fingerprints: Iterable[bytes]) -> Marks:
    return np.frombuffer(b"".join(fingerprints), dtype=MARK)


def in_order(marks: Marks, *before: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The places of the marks in ascending order, sorted by `before` first; equal ones stay in their order."""
    columns = (marks["low"].astype(np.uint64), marks["high"].astype(np.uint64), *before)
    return np.lexsort(columns).astype(np.int64, copy=False)


def by_text(marks: Marks) -> npt.NDArray[np.int8]:
    """80 % train, 10 % validation, 10 % test, by the hash of the text."""
    where = marks["high"].astype(np.float64) / 2**64
    return np.where(where < _TRAIN_UNTIL, TRAIN, np.where(where < _VALIDATION_UNTIL, VALIDATION, TEST)).astype(np.int8)


def is_usable(parts: npt.NDArray[np.int8], labels: npt.NDArray[np.int32]) -> bool:
    """Every part has two classes, and every class has a row to learn from."""
    classes = len(np.unique(labels))
    return len(np.unique(labels[parts == TRAIN])) == classes and all(
        len(np.unique(labels[parts == part])) >= 2 for part in (VALIDATION, TEST)
    )


def by_class(marks: Marks, labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int8]:
    """Class by class in the order of the hashes: a tenth to test, a tenth to validation, the rest to train.

    At least one row of each class trains. A class of three or more has rows on all sides; of the classes of two, every
    other one has its second row in test, the rest in validation.
    """
    parts = np.full(len(marks), TRAIN, dtype=np.int8)
    order = in_order(marks, labels)
    sizes = np.bincount(labels)
    twos = 0
    for rows in np.split(order, np.cumsum(sizes)[:-1]):
        rows = rows[::-1]
        tenth = max(1, len(rows) // 10)
        if len(rows) > 2:
            parts[rows[:tenth]] = TEST
            parts[rows[tenth : 2 * tenth]] = VALIDATION
        elif len(rows) == 2:
            parts[rows[0]] = VALIDATION if twos % 2 else TEST
            twos += 1
    return parts
