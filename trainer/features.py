"""Text -> features, exactly as `features.json` says, so that every reader of a model gets the same ones.

The promise: the same text and the same `features.json` give the same n-grams on any machine.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
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
Numbers = npt.NDArray[np.int64]


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
    """Texts -> the ascending ids of their known features. Whoever reads a model needs nothing else for its input.

    A feature is a path of words: each beginning of it is a node, found by the node before and the next word. So texts
    are looked up in numbers, all their places at once, and not as thousands of strings.
    """

    def __init__(self, featurizer: Featurizer, features: list[str]) -> None:
        self.featurizer = featurizer
        self.size = len(features)
        flat = " ".join(features).split(" ")
        words = {word: number for number, word in enumerate(dict.fromkeys(flat))}
        self._word: Callable[[str, int], int] = words.get
        self._words = len(words)
        lengths = np.array([feature.count(" ") + 1 for feature in features], dtype=np.int64)
        begins = np.cumsum(lengths) - lengths
        numbers = np.fromiter(map(words.__getitem__, flat), dtype=np.int64, count=len(flat))
        ids = {length: np.flatnonzero(lengths == length) for length in sorted(featurizer.ngrams)}
        node = {length: np.zeros(len(some), dtype=np.int64) for length, some in ids.items() if len(some)}
        self._levels: list[tuple[Numbers, Numbers]] = []  # a length: the nodes' keys in order, their feature or -1
        for length in range(1, max(node, default=0) + 1):
            keys = {
                each: node[each] * self._words + numbers[begins[ids[each]] + length - 1]
                for each in node
                if each >= length
            }
            nodes = np.unique(np.concatenate(list(keys.values())))
            feature_of = np.full(len(nodes), -1, dtype=np.int64)
            node = {each: np.searchsorted(nodes, key) for each, key in keys.items()}
            if length in node:
                feature_of[node[length]] = ids[length]
            self._levels.append((nodes, feature_of))

    def ids(self, texts: Sequence[str]) -> list[Ids]:
        tokens = [self.featurizer.tokens(text) for text in texts]
        word = self._word
        words = np.array([word(token, -1) for each in tokens for token in each], dtype=np.int64)
        text_of = np.repeat(np.arange(len(texts), dtype=np.int64), [len(each) for each in tokens])
        node, found = np.zeros(len(words), dtype=np.int64), []
        for length, (nodes, feature_of) in enumerate(self._levels, start=1):
            if length > 1:
                node = np.where(text_of[: -(length - 1)] == text_of[length - 1 :], node[:-1], -1)
            last = words[length - 1 :]
            keys, back = np.unique(
                np.where((node < 0) | (last < 0), -1, node * self._words + last), return_inverse=True
            )
            place = np.minimum(np.searchsorted(nodes, keys), len(nodes) - 1)
            node = np.where(nodes[place] == keys, place, -1)[back]
            known = node >= 0
            feature = feature_of[node[known]]
            found.append((text_of[: len(node)][known] * self.size + feature)[feature >= 0])
        places = np.sort(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)
        places = places[np.diff(places, prepend=-1) > 0]  # each once; np.unique goes by hashes, which is slower
        ends = np.searchsorted(places, np.arange(1, len(texts)) * self.size)
        return [(some % self.size).astype(np.int32) for some in np.split(places, ends)]


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
