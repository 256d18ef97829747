"""Text into feature ids, exactly as the model was trained.

The five steps are those of the contract `model_files.json`: strip, normalise, find tokens, make n-grams, keep the
known ones. A model whose features are read in another way answers wrongly without any error, so the loader proves
this module on the model's own golden rows before anything is served.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from inference.problems import ModelFault

KNOBS = {"strip_pattern": str, "lowercase": bool, "token_pattern": str, "max_tokens": int, "ngrams": list}


@dataclass(frozen=True)
class Token:
    word: str  # as the model sees it
    start: int  # where it stands in the text that is shown to people
    end: int


@dataclass(frozen=True)
class Features:
    """The reader of models of kind `ngrams`."""

    inputs: ClassVar[tuple[str, ...]] = ("ids",)
    outputs: ClassVar[tuple[str, ...]] = ("probabilities", "contributions")
    effort: ClassVar = 1
    threads: ClassVar = 1  # the graph is small, and a task has one or two cores that the server needs too

    strip: re.Pattern[str]
    lowercase: bool
    token: re.Pattern[str]
    max_tokens: int
    ngrams: tuple[int, ...]
    vocabulary: dict[str, int]

    @property
    def padding(self) -> int:
        return len(self.vocabulary)

    def read(self, text: str) -> list[int]:
        """The text's ids; a text without a known feature is one padding."""
        return self.ids(text) or [self.padding]

    def feed(self, rows: Sequence[Sequence[Any]]) -> dict[str, npt.NDArray[Any]]:
        padded = np.full((len(rows), max(map(len, rows))), self.padding, dtype=np.int64)
        for number, row in enumerate(rows):
            padded[number, : len(row)] = row
        return {"ids": padded}

    def cells(self, classes: int) -> int:
        return classes

    def seen(self, text: str) -> str:
        return self.tokens(text)[0]

    def ids(self, text: str) -> list[int]:
        """The distinct ids of the known features in ascending order; empty when nothing is known."""
        tokens = self.token.findall(self._normal(text))[: self.max_tokens]
        known = self.vocabulary
        grams = (gram for n in self.ngrams for gram in n_grams(tokens, n))
        return sorted({known[gram] for gram in grams if gram in known})

    def tokens(self, text: str) -> tuple[str, list[Token]]:
        """The text as it can be shown, and where each token stands in it."""
        seen = self._normal(text)
        shown = unicodedata.normalize("NFC", self.strip.sub(" ", text))
        if len(shown) != len(seen):  # lower() made it longer ('İ'), so positions do not carry over
            shown = seen
        group = self.token.groups
        tokens: list[Token] = []
        for match in self.token.finditer(seen):
            if len(tokens) == self.max_tokens:
                break
            tokens.append(Token(match.group(group) or "", *match.span(group)))
        return shown, tokens

    def _normal(self, text: str) -> str:
        text = unicodedata.normalize("NFC", self.strip.sub(" ", text))
        return text.lower() if self.lowercase else text


def n_grams(tokens: list[str], n: int) -> list[str]:
    if n == 1:
        return tokens
    return list(map(" ".join, zip(*(tokens[i:] for i in range(n)), strict=False)))


def read_features(description: Any, vocabulary_file: bytes) -> Features:
    """The reader that features.json and vocabulary.txt describe. Raises ModelFault when they break the contract."""
    if not isinstance(description, dict) or set(description) != set(KNOBS):
        raise ModelFault(f"features.json must have exactly {', '.join(KNOBS)}")
    wrong = [name for name, kind in KNOBS.items() if type(description[name]) is not kind]
    if wrong:
        raise ModelFault(f"features.json has a wrong type in {', '.join(wrong)}")
    ngrams = description["ngrams"]
    if not ngrams or any(type(n) is not int or n < 1 for n in ngrams) or description["max_tokens"] < 1:
        raise ModelFault("features.json: ngrams and max_tokens must be whole numbers from 1")
    try:
        strip = re.compile(description["strip_pattern"])
        token = re.compile(description["token_pattern"])
    except re.error as fault:
        raise ModelFault(f"features.json has a pattern that does not compile: {fault}") from fault
    if token.groups > 1:
        raise ModelFault("features.json: token_pattern may have one group at most")
    return Features(
        strip=strip,
        lowercase=description["lowercase"],
        token=token,
        max_tokens=description["max_tokens"],
        ngrams=tuple(ngrams),
        vocabulary=_vocabulary(vocabulary_file),
    )


def _vocabulary(file: bytes) -> dict[str, int]:
    try:
        text = file.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise ModelFault("vocabulary.txt is not UTF-8") from fault
    # Only "\n" ends a line: splitlines() would also cut at characters that can be part of a feature.
    lines = text.removesuffix("\n").split("\n") if text else []
    vocabulary = {feature: number for number, feature in enumerate(lines)}
    if len(vocabulary) != len(lines):
        raise ModelFault("vocabulary.txt names a feature twice")
    return vocabulary
