"""The kinds of models by the contract `model_files`: how each reads texts, and what it hands to its graph.

`ngrams` knows words and is in `features.py`. `tokens` is a neural encoder behind a Hugging Face tokenizer. `text` reads
by itself: any graph that takes strings. What is common to them is in `Reader`; the rest of the service asks that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from inference.features import read_features
from inference.problems import ModelFault

Row = Sequence[Any]  # one text as its model reads it: ids, or characters
Feed = dict[str, npt.NDArray[Any]]


class Reader(Protocol):
    """How one kind of model reads."""

    inputs: ClassVar[tuple[str, ...]]
    outputs: ClassVar[tuple[str, ...]]
    effort: ClassVar[int]  # work a character; 1 = a lookup of words
    threads: ClassVar[int]  # of the graph; 0 = one a core

    def read(self, text: str) -> Row:
        """The text as a row; never empty."""

    def feed(self, rows: Sequence[Row]) -> Feed:
        """The graph's inputs for these rows."""

    def cells(self, classes: int) -> int:
        """About how many numbers the graph's largest tensor has for each place of a row."""

    def seen(self, text: str) -> str:
        """So much of the text as the model reads, as it can be shown."""


@dataclass(frozen=True)
class Tokens:
    """Token ids of a neural encoder."""

    inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")
    outputs: ClassVar[tuple[str, ...]] = ("probabilities",)
    effort: ClassVar = 500
    threads: ClassVar = 0

    strip: re.Pattern[str]
    max_tokens: int
    padding: int
    tokenizer: Tokenizer

    def read(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(self._plain(text)).ids
        return ids or [self.padding]

    def feed(self, rows: Sequence[Row]) -> Feed:
        shape = (len(rows), max(map(len, rows)))
        ids, mask = np.full(shape, self.padding, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def cells(self, classes: int) -> int:
        return 4096 + classes  # the inner layer of a large encoder; attention needs about as much

    def seen(self, text: str) -> str:
        plain = self._plain(text)
        read = self.tokenizer.encode(plain)
        return plain[: max((end for _, end in read.offsets), default=0)] if read.overflowing else plain

    def _plain(self, text: str) -> str:
        return whole(self.strip.sub(" ", text))


@dataclass(frozen=True)
class WholeText:
    """The text as it is."""

    inputs: ClassVar[tuple[str, ...]] = ("text",)
    outputs: ClassVar[tuple[str, ...]] = ("probabilities",)
    effort: ClassVar = 50
    threads: ClassVar = 0

    def read(self, text: str) -> str:
        return whole(text)

    def feed(self, rows: Sequence[Row]) -> Feed:
        return {"text": np.array([[row] for row in rows], dtype=object)}

    def cells(self, classes: int) -> int:
        return 64 + classes

    def seen(self, text: str) -> str:
        return whole(text)


def whole(text: str) -> str:
    """The text without half characters, which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def read_kind(description: Any, file: Callable[[str], bytes]) -> Reader:
    """The reader that features.json describes; `file` gives the others that its kind has. Raises ModelFault."""
    if not isinstance(description, dict):
        raise ModelFault("features.json must be an object")
    match kind := description.get("kind", "ngrams"):
        case "ngrams":
            rules = {name: value for name, value in description.items() if name != "kind"}
            return read_features(rules, file("vocabulary.txt"))
        case "tokens":
            return _tokens(description, file("tokenizer.json"))
        case "text":
            if set(description) != {"kind"}:
                raise ModelFault("features.json of kind 'text' must have nothing but its kind")
            return WholeText()
        case _:
            raise ModelFault(
                f"features.json is of kind {kind!r}; this image reads ngrams, tokens and text. Push a newer image"
            )


def _tokens(description: dict[str, Any], file: bytes) -> Tokens:
    knobs = {"kind": str, "strip_pattern": str, "max_tokens": int, "padding_id": int}
    if set(description) != set(knobs):
        raise ModelFault(f"features.json of kind 'tokens' must have exactly {', '.join(knobs)}")
    if wrong := [name for name, kind in knobs.items() if type(description[name]) is not kind]:
        raise ModelFault(f"features.json has a wrong type in {', '.join(wrong)}")
    most, padding = description["max_tokens"], description["padding_id"]
    if most < 1 or padding < 0:
        raise ModelFault("features.json: max_tokens must be at least 1 and padding_id at least 0")
    try:
        strip = re.compile(description["strip_pattern"])
    except re.error as fault:
        raise ModelFault(f"features.json has a pattern that does not compile: {fault}") from fault
    try:
        tokenizer = Tokenizer.from_buffer(file)
        tokenizer.no_padding()
        tokenizer.enable_truncation(most)
    except Exception as fault:  # noqa: BLE001 - the library raises plain Exception
        raise ModelFault(f"tokenizer.json cannot be used: {str(fault).splitlines()[0]}") from fault
    return Tokens(strip, most, padding, tokenizer)
