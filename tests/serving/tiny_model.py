"""A real model by the contract, small enough to read: a linear bag of n-grams, normalised by its length, as ONNX."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

WORDS = {
    "amazing": 3.0,
    "great": 2.0,
    "good": 1.5,
    "good film": 0.5,
    "not": -0.5,
    "not good": -4.0,
    "bad": -2.0,
    "awful": -3.0,
    "film": 0.0,
    "!": 0.25,
}
FEATURES = {
    "strip_pattern": "<[^>]{0,200}>",
    "lowercase": True,
    "token_pattern": "\\w+(?:'\\w+)?|[^\\w\\s]",
    "max_tokens": 4000,
    "ngrams": [1, 2],
}
GOLDEN = ["The movie was amazing!", "not good", "Good film", "nothing known here", "awful, awful"]
RUN = "default-3f2a9c1b7e44"
SNAPSHOT = "sha256:" + "3f" * 32


def graph(weights: np.ndarray[Any, Any], bias: np.ndarray[Any, Any]) -> bytes:
    """ids -> weights, divided by the root of the number of features; contributions, their sum + bias, softmax."""
    count, classes = weights.shape
    table = np.vstack([weights, np.zeros((1, classes))]).astype(np.float32)
    known = np.array([[1.0]] * count + [[0.0]], dtype=np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Gather", ["known", "ids"], ["real"]),
        helper.make_node("ReduceSum", ["real", "middle"], ["features"], keepdims=1),
        helper.make_node("Max", ["features", "one"], ["at_least_one"]),
        helper.make_node("Sqrt", ["at_least_one"], ["norm"]),
        helper.make_node("Div", ["rows", "norm"], ["contributions"]),
        helper.make_node("ReduceSum", ["contributions", "middle"], ["sums"], keepdims=0),
        helper.make_node("Add", ["sums", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    values: dict[str, np.ndarray[Any, Any]] = {
        "table": table,
        "known": known,
        "middle": np.array([1], dtype=np.int64),
        "one": np.array(1.0, dtype=np.float32),
        "bias": bias.astype(np.float32),
    }
    made = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["rows", "width"])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", classes]),
            helper.make_tensor_value_info("contributions", TensorProto.FLOAT, ["rows", "width", classes]),
        ],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def answers(model: bytes, rows: list[list[int]]) -> list[list[float]]:
    """The trainer's side of golden.json: each row through the graph by itself."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return [session.run(["probabilities"], {"ids": np.array([row], dtype=np.int64)})[0][0].tolist() for row in rows]


def golden_rows(model: bytes, labels: list[str]) -> list[dict[str, Any]]:
    order = {word: number for number, word in enumerate(WORDS)}
    by_hand = [["amazing", "!"], ["not", "good", "not good"], ["good", "film", "good film"], [], ["awful"]]
    rows = [sorted(order[word] for word in words) or [len(WORDS)] for words in by_hand]
    return [
        {"text": text, "label": labels[int(np.argmax(scores))], "probabilities": scores}
        for text, scores in zip(GOLDEN, answers(model, rows), strict=True)
    ]


def write_model(
    folder: Path,
    labels: list[str] | None = None,
    run_id: str = RUN,
    change: Callable[[dict[str, bytes]], None] | None = None,
) -> Path:
    """A whole model folder. `change` may alter files before their sha256 goes into the manifest."""
    labels = labels or ["negative", "positive"]
    toward_last = np.array(list(WORDS.values()))
    weights = np.zeros((len(WORDS), len(labels)))
    weights[:, 0], weights[:, -1] = -toward_last / 2, toward_last / 2
    bias = np.zeros(len(labels))
    bias[-1] = math.log(1.1)
    model = graph(weights, bias)
    files = {
        "model.onnx": model,
        "vocabulary.txt": "".join(f"{word}\n" for word in WORDS).encode(),
        "features.json": json.dumps(FEATURES).encode(),
        "labels.json": json.dumps(labels).encode(),
        "golden.json": json.dumps(golden_rows(model, labels)).encode(),
        "metrics.json": b"{}",
    }
    if change:
        change(files)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(manifest(files, labels, run_id)))
    return folder


def manifest(files: dict[str, bytes], labels: list[str], run_id: str) -> dict[str, Any]:
    metrics = {
        "rows": 5,
        "accuracy": 1.0,
        "majority_share": 0.6,
        "macro_f1": 1.0,
        "log_loss": 0.2,
        "calibration_error": 0.1,
        "per_class_recall": dict.fromkeys(labels, 1.0),
    }
    return {
        "contract": 1,
        "run_id": run_id,
        "dataset": "default",
        "snapshot_digest": SNAPSHOT,
        "labels": labels,
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in files.items()
        },
        "rows": {"accepted": 50, "rejected": 0, "duplicates": 0, "train": 40, "validation": 5, "test": 5},
        "metrics": metrics,
        "comparison": None,
        "trainer_version": "by hand",
        "recipe": "tiny",
        "knobs": {},
        "seed": 17,
        "machine": {"id": "local", "type": "unknown", "zone": "unknown", "lifecycle": "unknown"},
        "attempt": 1,
        "resumed": None,
        "data_shift": None,
        "seconds": 0.1,
        "created_at": "2026-01-01T00:00:00Z",
    }
