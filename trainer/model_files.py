"""The files of a model, read as anyone must read them: by the contract `model_files`, whoever trained it and when.

A champion is answered through this, and so is the challenger: both are measured as they would serve.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from trainer.errors import Failed
from trainer.features import Encoder, Featurizer, Ids, padded
from trainer.store import Store

NEEDED = ("model.onnx", "vocabulary.txt", "features.json", "labels.json")
# Bounds what the contributions of one batch take in memory (32 MB).
_CELLS_AT_ONCE = 8_000_000
_TEXTS_AT_ONCE = 256

Scores = npt.NDArray[np.float32]


class Model:
    def __init__(self, folder: Path, threads: int = 2) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        features = (folder / "vocabulary.txt").read_bytes().decode().removesuffix("\n").split("\n")
        rules = Featurizer.of_json(json.loads((folder / "features.json").read_text(encoding="utf-8")))
        self._encoder = Encoder(rules, features)
        self.labels: list[str] = json.loads((folder / "labels.json").read_text(encoding="utf-8"))

    def answer(self, texts: Iterable[str]) -> Iterator[Scores]:
        """Each text's probabilities, in the order of the texts."""
        batch: list[Ids] = []
        width = 1
        for text in texts:
            ids = self._encoder.ids(text)
            wider = max(width, len(ids))
            if batch and (len(batch) == _TEXTS_AT_ONCE or (len(batch) + 1) * wider * len(self.labels) > _CELLS_AT_ONCE):
                yield from self._run(batch)
                batch, wider = [], max(1, len(ids))
            batch.append(ids)
            width = wider
        if batch:
            yield from self._run(batch)

    def _run(self, batch: list[Ids]) -> Scores:
        scores: Scores = self._session.run(["probabilities"], {"ids": padded(batch, self._encoder.size)})[0]
        return scores


def fetch(store: Store, run_id: str, folder: Path) -> Model:
    """A published model, verified against its manifest. Raises Failed when it is not there or not what it was."""
    folder.mkdir()
    try:
        listed = store.get_json(f"models/{run_id}/manifest.json")["files"]
        for name in NEEDED:
            store.download(f"models/{run_id}/{name}", folder / name)
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != listed[name]["sha256"]:
                raise Failed(
                    f"The champion {run_id} is damaged: {name} is not the file of its manifest. Promote another model."
                )
    except KeyError as missing:
        raise Failed(f"The champion {run_id} is incomplete: {missing} is missing. Promote another model.") from missing
    return Model(folder)
