"""A model, verified before it serves, and its four steps: setup, decode, predict, encode.

Nothing is believed: every file is compared with the size and sha256 in manifest.json, and the trainer's own answers
in golden.json must come out again. A model that fails is refused with one sentence, and nothing is served by it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from inference.features import Features
from inference.kinds import Reader, Row, read_kind
from inference.problems import ModelFault
from inference.source import Source

Floats = npt.NDArray[np.float32]
Answer = dict[str, Any]

# Bounds the largest tensor inside the graph: for n-grams rows x width x classes. 4 million floats are 16 MB.
CELLS = 4_000_000
GOLDEN_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Model:
    run_id: str
    snapshot: str
    labels: tuple[str, ...]
    reader: Reader
    session: Any  # onnxruntime has no types
    cells: int = CELLS

    def decode(self, texts: list[str]) -> list[Row]:
        """Texts as the model reads them."""
        return [self.reader.read(text) for text in texts]

    def predict(self, rows: list[Row]) -> Floats:
        """Rows to probabilities, in the order of the rows."""
        if len(rows) == 1:
            return self._run("probabilities", rows)
        answers = np.empty((len(rows), len(self.labels)), dtype=np.float32)
        for places in batches([len(row) for row in rows], self.reader.cells(len(self.labels)), self.cells):
            answers[places] = self._run("probabilities", [rows[place] for place in places])
        return answers

    def contributions(self, row: Row) -> Floats:
        """What each feature of one text added to each class's logit: [features, classes]."""
        answer: Floats = self._run("contributions", [row])[0]
        return answer

    def encode(self, probabilities: Floats) -> list[Answer]:
        """Probabilities to answers that people read."""
        best = probabilities.argmax(axis=1).tolist()
        return [
            {
                "label": self.labels[winner],
                "probability": round(row[winner], 6),
                "scores": {label: round(score, 6) for label, score in zip(self.labels, row, strict=True)},
            }
            for winner, row in zip(best, probabilities.tolist(), strict=True)
        ]

    def answer(self, texts: list[str]) -> list[Answer]:
        return self.encode(self.predict(self.decode(texts)))

    def _run(self, output: str, rows: list[Row]) -> Floats:
        answer: Floats = self.session.run([output], self.reader.feed(rows))[0]
        if answer.shape[-1] != len(self.labels):
            raise ModelFault("model.onnx gives another number of scores than there are labels")
        if not np.isfinite(answer).all():
            raise ModelFault(f"the model gave a {output} that is no number")
        return answer


def batches(widths: list[int], each: int, cells: int) -> Iterator[list[int]]:
    """Places of rows that go through the graph together: of similar width, and within the bound."""
    batch: list[int] = []
    for place in sorted(range(len(widths)), key=widths.__getitem__):
        if batch and (len(batch) + 1) * widths[place] * each > cells:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def setup(source: Source, expected_run_id: str | None = None) -> Model:
    """The verified model of a source. Raises ModelFault with the one reason why it must not serve."""
    manifest = _json("manifest.json", source.read("manifest.json"))
    if not isinstance(manifest, dict) or manifest.get("contract") != 1:
        raise ModelFault("manifest.json is not of contract 1. Use an inference image that reads its contract")
    run_id, snapshot, files = manifest.get("run_id"), manifest.get("snapshot_digest"), manifest.get("files")
    if not (isinstance(run_id, str) and run_id and isinstance(snapshot, str) and isinstance(files, dict)):
        raise ModelFault("manifest.json lacks run_id, snapshot_digest or files")
    if expected_run_id is not None and run_id != expected_run_id:
        raise ModelFault(f"manifest.json is of run {run_id}, but the address says {expected_run_id}")

    def verified(name: str) -> bytes:
        return _verified(name, source.read(name), files.get(name))

    labels = _json("labels.json", verified("labels.json"))
    if not isinstance(labels, list) or len(labels) < 2 or not all(isinstance(label, str) for label in labels):
        raise ModelFault("labels.json must be a list of at least two labels")
    if labels != manifest.get("labels") or len(set(labels)) != len(labels):
        raise ModelFault("labels.json differs from the labels in manifest.json, or names one twice")
    reader = read_kind(_json("features.json", verified("features.json")), verified)
    session = _session(verified("model.onnx"), reader)
    model = Model(run_id=run_id, snapshot=snapshot, labels=tuple(labels), reader=reader, session=session)
    _prove(model, _json("golden.json", verified("golden.json")))
    return model


def _verified(name: str, content: bytes, promise: Any) -> bytes:
    if not isinstance(promise, dict):
        raise ModelFault(f"manifest.json does not name {name}")
    if len(content) != promise.get("bytes"):
        raise ModelFault(f"{name} has {len(content)} bytes, but manifest.json says {promise.get('bytes')}")
    digest = hashlib.sha256(content).hexdigest()
    if digest != promise.get("sha256"):
        raise ModelFault(f"{name} has sha256 {digest}, but manifest.json says {promise.get('sha256')}")
    return content


def _json(name: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as fault:
        raise ModelFault(f"{name} is not JSON") from fault


def _session(graph: bytes, reader: Reader) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = reader.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait leave the core alone
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as fault:  # noqa: BLE001 - ONNX Runtime raises a dozen unrelated classes for a bad graph
        raise ModelFault(f"model.onnx cannot be loaded: {str(fault).splitlines()[0]}") from fault
    inputs = {given.name for given in session.get_inputs()}
    outputs = {given.name for given in session.get_outputs()}
    if inputs != set(reader.inputs) or not set(reader.outputs) <= outputs:
        takes, gives = (" and ".join(map(repr, names)) for names in (reader.inputs, reader.outputs))
        raise ModelFault(f"model.onnx must take {takes} and give {gives}")
    return session


def _prove(model: Model, golden: Any) -> None:
    if not isinstance(golden, list) or not golden:
        raise ModelFault("golden.json must hold at least one row")
    try:
        texts = [str(row["text"]) for row in golden]
        labels = [row["label"] for row in golden]
        promised = np.array([row["probabilities"] for row in golden], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as fault:
        raise ModelFault("golden.json must hold rows of text, label and probabilities") from fault
    rows = model.decode(texts)
    try:
        probabilities = model.predict(rows)
        told = model.contributions(rows[0]).shape if isinstance(model.reader, Features) else None
    except ModelFault:
        raise
    except Exception as fault:  # noqa: BLE001 - as above: the graph runs for the first time here
        raise ModelFault(f"model.onnx cannot be run: {str(fault).splitlines()[0]}") from fault
    if promised.shape != probabilities.shape:
        raise ModelFault("golden.json gives another number of scores than there are labels")
    if told not in (None, (len(rows[0]), len(model.labels))):
        raise ModelFault("model.onnx must give a contribution of each feature to each label")
    for number, answer in enumerate(model.encode(probabilities)):
        if answer["label"] != labels[number]:
            raise ModelFault(
                f"golden row {number} comes out as {answer['label']!r}, but the trainer got {labels[number]!r}"
            )
    off = float(np.abs(promised - probabilities).max())
    if not off <= GOLDEN_TOLERANCE:
        raise ModelFault(f"the golden probabilities differ by up to {off:.6f}; at most {GOLDEN_TOLERANCE} is allowed")
