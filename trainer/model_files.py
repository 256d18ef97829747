"""The files of a model, read as anyone must read them: by the contract `model_files`, whoever trained it and when.

A champion is answered through this, and so is the challenger, be they of different kinds: both are measured as they
would serve.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime

from trainer.errors import Failed
from trainer.features import Encoder, Featurizer, padded
from trainer.store import Store

# What a kind has beside model.onnx, features.json and labels.json.
FILES_OF = {"ngrams": ("vocabulary.txt",), "tokens": ("tokenizer.json",), "text": ()}
# Bounds the largest tensor inside the graph for one batch (32 MB).
_CELLS_AT_ONCE = 8_000_000
_TEXTS_AT_ONCE = 256

Scores = npt.NDArray[np.float32]
Row = Any  # one text as its model reads it: ids or characters, with a length


class Reader(Protocol):
    """How one kind of model reads."""

    def read(self, texts: Sequence[str]) -> list[Row]: ...

    def feed(self, rows: list[Row]) -> dict[str, npt.NDArray[Any]]: ...

    def cells(self, classes: int) -> int:
        """About how many numbers the graph's largest tensor has for each place of a row."""


class Ngrams:
    def __init__(self, folder: Path, rules: dict[str, Any]) -> None:
        features = (folder / "vocabulary.txt").read_bytes().decode().removesuffix("\n").split("\n")
        given = {name: value for name, value in rules.items() if name != "kind"}
        self._encoder = Encoder(Featurizer.of_json(given), features)

    def read(self, texts: Sequence[str]) -> list[Row]:
        return list(self._encoder.ids(texts))

    def feed(self, rows: list[Any]) -> dict[str, npt.NDArray[Any]]:
        return {"ids": padded(rows, self._encoder.size)}

    def cells(self, classes: int) -> int:
        return classes


class Tokens:
    def __init__(self, folder: Path, rules: dict[str, Any]) -> None:
        from tokenizers import Tokenizer  # only models of this kind need the library

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(rules["max_tokens"])
        self._strip, self.padding = re.compile(rules["strip_pattern"]), int(rules["padding_id"])

    def read(self, texts: Sequence[str]) -> list[Row]:
        read = self._tokenizer.encode_batch([self._strip.sub(" ", text) for text in texts])
        return [each.ids or [self.padding] for each in read]

    def feed(self, rows: list[Row]) -> dict[str, npt.NDArray[Any]]:
        return pad_tokens(rows, self.padding)

    def cells(self, classes: int) -> int:
        return 4096 + classes  # the inner layer of a large encoder; attention needs about as much


class WholeText:
    def read(self, texts: Sequence[str]) -> list[Row]:
        return list(texts)

    def feed(self, rows: list[Row]) -> dict[str, npt.NDArray[Any]]:
        return {"text": np.array([[row] for row in rows], dtype=object)}

    def cells(self, classes: int) -> int:
        return 64 + classes


def pad_tokens(rows: Sequence[Row], padding: int) -> dict[str, npt.NDArray[np.int64]]:
    """The inputs of a graph of kind `tokens`: as wide as the longest row, filled on the right."""
    shape = (len(rows), max(map(len, rows)))
    ids, mask = np.full(shape, padding, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def reader_of(folder: Path) -> Reader:
    rules = json.loads((folder / "features.json").read_text(encoding="utf-8"))
    match rules.get("kind", "ngrams"):
        case "ngrams":
            return Ngrams(folder, rules)
        case "tokens":
            return Tokens(folder, rules)
        case _:
            return WholeText()


class Model:
    def __init__(self, folder: Path, threads: int = 2) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._reader = reader_of(folder)
        self.labels: list[str] = json.loads((folder / "labels.json").read_text(encoding="utf-8"))

    def answer(self, texts: Iterable[str]) -> Iterator[Scores]:
        """Each text's probabilities, in the order of the texts."""
        waiting = iter(texts)
        while some := list(islice(waiting, _TEXTS_AT_ONCE)):
            yield from self._answers(self._reader.read(some))

    def _answers(self, rows: list[Row]) -> Iterator[Scores]:
        """Rows of like length go through the graph together, so that little of it is padding."""
        each = self._reader.cells(len(self.labels))
        answers: list[Scores] = [np.empty(0, np.float32)] * len(rows)
        batch: list[int] = []
        for place in sorted(range(len(rows)), key=lambda at: len(rows[at])):
            if batch and (len(batch) + 1) * max(1, len(rows[place])) * each > _CELLS_AT_ONCE:
                self._fill(answers, batch, rows)
                batch = []
            batch.append(place)
        self._fill(answers, batch, rows)
        return iter(answers)

    def _fill(self, answers: list[Scores], batch: list[int], rows: list[Row]) -> None:
        for place, scores in zip(batch, self._run([rows[at] for at in batch]), strict=True):
            answers[place] = scores

    def _run(self, batch: list[Row]) -> Scores:
        scores: Scores = self._session.run(["probabilities"], self._reader.feed(batch))[0]
        return scores


def fetch(store: Store, run_id: str, folder: Path) -> Model:
    """A published model, verified against its manifest. Raises Failed when it is not there or not what it was."""
    folder.mkdir()
    try:
        listed = store.get_json(f"models/{run_id}/manifest.json")["files"]

        def bring(name: str) -> None:
            store.download(f"models/{run_id}/{name}", folder / name)
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != listed[name]["sha256"]:
                raise Failed(
                    f"The champion {run_id} is damaged: {name} is not the file of its manifest. Promote another model."
                )

        for name in ("features.json", "labels.json", "model.onnx"):
            bring(name)
        kind = json.loads((folder / "features.json").read_text(encoding="utf-8")).get("kind", "ngrams")
        if kind not in FILES_OF:
            raise Failed(
                f"The champion {run_id} is of kind {kind!r}; this trainer reads {', '.join(FILES_OF)}. "
                "Deploy a newer trainer, or promote another model."
            )
        for name in FILES_OF[kind]:
            bring(name)
    except KeyError as missing:
        raise Failed(f"The champion {run_id} is incomplete: {missing} is missing. Promote another model.") from missing
    return Model(folder)
