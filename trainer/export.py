"""Weights -> the model's files, as the contract `model_files` wants them.

The graph: gather the features' weights, divide by the length of the text's idf vector, add them up, softmax. A text's
cost is that of its own features, whatever the size of the vocabulary.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from trainer.features import Featurizer

OPSET = 17
IR_VERSION = 8  # the one that came with opset 17: the oldest runtimes that know the opset can read it


def write_model(
    folder: Path, weights: dict[str, torch.Tensor], features: list[str], labels: list[str], featurizer: Featurizer
) -> None:
    """model.onnx, model.pt, vocabulary.txt, features.json and labels.json. The same weights give the same bytes."""
    torch.save(weights, folder / "model.pt")
    graph = build_graph(weights["weight"].numpy(), weights["bias"].numpy(), weights["idf"].numpy())
    (folder / "model.onnx").write_bytes(graph.SerializeToString(deterministic=True))
    (folder / "vocabulary.txt").write_bytes("".join(f"{feature}\n" for feature in features).encode())
    write_json(folder / "features.json", featurizer.as_json())
    write_json(folder / "labels.json", labels)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def build_graph(
    weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32], idf: npt.NDArray[np.float32]
) -> onnx.ModelProto:
    """`ids` [rows, width] -> `probabilities` [rows, classes] and `contributions` [rows, width, classes]."""
    classes = weight.shape[1]
    # One row more for the padding, which weighs and adds nothing.
    constants = {
        "weight": np.vstack([weight, np.zeros((1, classes), np.float32)]),
        "idf_squared": np.append(idf * idf, np.float32(0)),
        "bias": bias,
        "no_length": np.float32(1e-12).reshape(()),
        "over_features": np.array([1], np.int64),
        "last": np.array([2], np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["idf_squared", "ids"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "over_features"], ["squared_length"], keepdims=1),
        helper.make_node("Max", ["squared_length", "no_length"], ["some_squared_length"]),
        helper.make_node("Sqrt", ["some_squared_length"], ["length"]),
        helper.make_node("Unsqueeze", ["length", "last"], ["length_of_all"]),
        helper.make_node("Gather", ["weight", "ids"], ["pushes"]),
        helper.make_node("Div", ["pushes", "length_of_all"], ["contributions"]),
        helper.make_node("ReduceSum", ["contributions", "over_features"], ["sums"], keepdims=0),
        helper.make_node("Add", ["sums", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "tidegate_linear",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["rows", "width"])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", classes]),
            helper.make_tensor_value_info("contributions", TensorProto.FLOAT, ["rows", "width", classes]),
        ],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, producer_name="tidegate", opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model
