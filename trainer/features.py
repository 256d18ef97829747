"""Text -> features, exactly as `features.json` says, so that every reader of a model gets the same ones.

The promise: the same text and the same `features.json` give the same n-grams on any machine.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# Scripts that are written without spaces (Thai, Lao, Burmese, Khmer, Kana, Han): one character is one token there.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Vowel signs and accents that Python does not count as part of a word, though the script's readers do.
_MARKS = "\u0300-\u036f\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
_WORD = rf"[^\W{_UNSPACED}]+"

STRIP_PATTERN = r"<[^>]{0,200}>"
TOKEN_PATTERN = rf"{_WORD}(?:['’{_MARKS}]+{_WORD})*[{_MARKS}]*|[{_UNSPACED}]|[^\w\s]"

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Featurizer:
    """The rules of one model's `features.json`."""

    strip_pattern: str
    lowercase: bool
    token_pattern: str
    max_tokens: int
    ngrams: tuple[int, ...]

    @classmethod
    def of_json(cls, rules: dict[str, Any]) -> Featurizer:
        return cls(**{**rules, "ngrams": tuple(rules["ngrams"])})

    def as_json(self) -> dict[str, Any]:
        return {
            "strip_pattern": self.strip_pattern,
            "lowercase": self.lowercase,
            "token_pattern": self.token_pattern,
            "max_tokens": self.max_tokens,
            "ngrams": list(self.ngrams),
        }

    def tokens(self, text: str) -> list[str]:
        text = unicodedata.normalize("NFC", re.sub(self.strip_pattern, " ", text))
        found: list[str] = re.findall(self.token_pattern, text.lower() if self.lowercase else text)
        return found[: self.max_tokens]

    def grams(self, text: str) -> set[str]:
        """The distinct n-grams of one text."""
        tokens = self.tokens(text)
        grams: set[str] = set()
        for size in self.ngrams:
            if size == 1:
                grams.update(tokens)
            else:
                grams.update(map(" ".join, zip(*(tokens[start:] for start in range(size)), strict=False)))
        return grams


class Encoder:
    """Text -> the ascending ids of its known features. Whoever reads a model needs nothing else for its input."""

    def __init__(self, featurizer: Featurizer, features: list[str]) -> None:
        self.featurizer = featurizer
        self.size = len(features)
        self._id: Callable[[str], int | None] = {gram: number for number, gram in enumerate(features)}.get

    def ids(self, text: str) -> Ids:
        known = [number for number in map(self._id, self.featurizer.grams(text)) if number is not None]
        known.sort()
        return np.array(known, dtype=np.int32)


@dataclass(frozen=True)
class Encoded:
    """Texts as features: the ids of all texts in a row, where each text begins (and the last ends), its class."""

    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)


def padded(rows: list[Ids], padding: int) -> npt.NDArray[np.int64]:
    """The `ids` input of model.onnx: one row a text, filled on the right with `padding`, at least one column wide."""
    width = max([1, *(len(ids) for ids in rows)])
    filled = np.full((len(rows), width), padding, dtype=np.int64)
    for number, ids in enumerate(rows):
        filled[number, : len(ids)] = ids
    return filled
