"""Tiny models of the kinds `tokens` and `text`: the same words and weights as the tiny model of n-grams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from tests.serving.tiny_model import GOLDEN, WORDS, write_model

LABELS = ["negative", "positive"]
IDS = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", *(w for w in WORDS if " " not in w)])}
TOKENS = {"kind": "tokens", "strip_pattern": "<[^>]{0,200}>", "max_tokens": 12, "padding_id": 0}


def tokenizer() -> bytes:
    made = Tokenizer(WordLevel(IDS, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = Lowercase(), Whitespace()
    made.post_processor = TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", IDS["[CLS]"])])
    return made.to_str().encode()


def tokens_graph() -> bytes:
    """The mean of the tokens' weights, times 3, for and against."""
    weights = np.array([[-WORDS.get(word, 0.0), WORDS.get(word, 0.0)] for word in IDS], dtype=np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["real", "last"], ["mask"]),
        helper.make_node("Mul", ["rows", "mask"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "middle"], ["sums"], keepdims=0),
        helper.make_node("ReduceSum", ["real", "middle"], ["count"], keepdims=1),
        helper.make_node("Div", ["sums", "count"], ["means"]),
        helper.make_node("Mul", ["means", "three"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    constants: dict[str, Any] = {
        "table": weights,
        "last": np.array([2], np.int64),
        "middle": np.array([1], np.int64),
        "three": np.float32(3).reshape(()),
    }
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "width"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 2])]
    initial = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "tokens", inputs, outputs, initial),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(made)
    content: bytes = made.SerializeToString()
    return content


def text_graph() -> bytes:
    """scikit-learn's, as a person who brings a trainer of their own would make it."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import StringTensorType
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts = [f"the {word} film" for word, push in WORDS.items() if word.isalpha() and push] * 3
    truth = [LABELS[WORDS[text.split()[1]] > 0] for text in texts]
    fitted = make_pipeline(TfidfVectorizer(token_pattern="[a-zA-Z]+"), LogisticRegression(C=100)).fit(texts, truth)
    # C.UTF-8 is the one locale that every system has; the converter's own choice, en_US, is not in a slim image.
    options = {id(fitted): {"zipmap": False}, TfidfVectorizer: {"locale": "C.UTF-8"}}
    content: bytes = to_onnx(
        fitted, initial_types=[("text", StringTensorType([None, 1]))], options=options, target_opset=17
    ).SerializeToString()
    return content


def golden(graph: bytes, feeds: list[dict[str, Any]]) -> bytes:
    """The trainer's side: each text through the graph by itself."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    rows = [session.run(["probabilities"], feed)[0][0].tolist() for feed in feeds]
    told = [
        {"text": text, "label": LABELS[int(np.argmax(row))], "probabilities": row}
        for text, row in zip(GOLDEN, rows, strict=True)
    ]
    return json.dumps(told).encode()


def write_tokens(folder: Path, **changed: bytes) -> Path:
    graph, reader = tokens_graph(), Tokenizer.from_buffer(tokenizer())

    def change(files: dict[str, bytes]) -> None:
        del files["vocabulary.txt"]
        rows = [np.array([reader.encode(text).ids], np.int64) for text in GOLDEN]
        feeds = [{"input_ids": row, "attention_mask": np.ones_like(row)} for row in rows]
        files["model.onnx"], files["tokenizer.json"] = graph, tokenizer()
        files["features.json"], files["golden.json"] = json.dumps(TOKENS).encode(), golden(graph, feeds)
        files.update({name.replace("_", "."): content for name, content in changed.items()})

    return write_model(folder, change=change)


def write_text(folder: Path) -> Path:
    graph = text_graph()

    def change(files: dict[str, bytes]) -> None:
        del files["vocabulary.txt"]
        feeds = [{"text": np.array([[text]], dtype=object)} for text in GOLDEN]
        files["model.onnx"], files["features.json"] = graph, b'{"kind": "text"}'
        files["golden.json"] = golden(graph, feeds)

    return write_model(folder, change=change)
