"""A model is verified before it serves; what it then answers is what its trainer got."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inference.model import Model, batches, setup
from inference.problems import ModelFault
from inference.source import Folder
from jsonschema import Draft202012Validator

from tests.serving.tiny_model import GOLDEN, RUN, WORDS, graph, write_model

CONTRACTS = Path(__file__).resolve().parents[2] / "events" / "contracts"
Change = Callable[[dict[str, bytes]], None]


def test_the_tiny_model_is_by_the_contracts(model_folder: Path) -> None:
    manifest = json.loads((CONTRACTS / "manifest.json").read_text())
    Draft202012Validator(manifest).validate(json.loads((model_folder / "manifest.json").read_text()))
    definitions = json.loads((CONTRACTS / "model_files.json").read_text())["$defs"]
    for name in ("features", "labels", "golden"):
        Draft202012Validator({**definitions[name], "$defs": definitions}).validate(
            json.loads((model_folder / f"{name}.json").read_text())
        )


def test_the_golden_rows_come_out_again(model: Model, model_folder: Path) -> None:
    golden = json.loads((model_folder / "golden.json").read_text())
    said = model.predict(model.decode(GOLDEN))
    assert np.abs(said - np.array([row["probabilities"] for row in golden])).max() < 1e-6
    assert [answer["label"] for answer in model.answer(GOLDEN)] == [row["label"] for row in golden]


def test_a_text_without_a_known_feature_is_one_padding(model: Model) -> None:
    assert model.decode(["zzz", "bad"]) == [[len(WORDS)], [6]]
    assert model.answer(["zzz"])[0]["label"] == "positive"


def test_labels_come_back_as_they_were_given(tmp_path: Path) -> None:
    for labels in (["0", "1"], ["neg", "pos"], ["Schlecht", "geht so", "großartig"], [str(n) for n in range(20)]):
        loaded = setup(Folder(write_model(tmp_path / labels[0], labels=labels)))
        answer = loaded.answer(["amazing"])[0]
        assert answer["label"] == labels[-1]
        assert list(answer["scores"]) == labels


def _without(name: str) -> Change:
    def change(files: dict[str, bytes]) -> None:
        del files[name]

    return change


def _with(name: str, content: bytes) -> Change:
    def change(files: dict[str, bytes]) -> None:
        files[name] = content

    return change


def _golden(**changed: object) -> Change:
    def change(files: dict[str, bytes]) -> None:
        rows = json.loads(files["golden.json"])
        rows[1] |= changed
        files["golden.json"] = json.dumps(rows).encode()

    return change


THREE_SCORES = graph(np.zeros((len(WORDS), 3)), np.zeros(3))

FAULTS: dict[str, tuple[Change, str]] = {
    "no golden rows": (_with("golden.json", b"[]"), "at least one row"),
    "golden rows of another shape": (_with("golden.json", b'[{"text": "a"}]'), "text, label and probabilities"),
    "another golden label": (_golden(label="positive"), "golden row 1 comes out as 'negative'"),
    "other golden probabilities": (_golden(probabilities=[0.8, 0.2]), "golden probabilities differ"),
    "a file the manifest does not name": (_without("vocabulary.txt"), "vocabulary.txt"),
    "labels in another order": (_with("labels.json", b'["positive", "negative"]'), "differs from the labels"),
    "one label": (_with("labels.json", b'["positive"]'), "at least two"),
    "no JSON": (_with("features.json", b"{"), "features.json is not JSON"),
    "no graph": (_with("model.onnx", b"hello"), "model.onnx cannot be loaded"),
    "another number of scores": (_with("model.onnx", THREE_SCORES), "another number of scores"),
    "a longer vocabulary than the graph knows": (
        _with("vocabulary.txt", "".join(f"{word}\n" for word in [*WORDS, "x", "y"]).encode()),
        "model.onnx cannot be run",
    ),
}


@pytest.mark.parametrize(("change", "words"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_model_is_refused_with_the_reason(tmp_path: Path, change: Change, words: str) -> None:
    folder = write_model(tmp_path / "model", change=change)
    with pytest.raises(ModelFault, match=words):
        setup(Folder(folder))


@pytest.mark.parametrize("name", ["model.onnx", "vocabulary.txt", "features.json", "labels.json", "golden.json"])
def test_a_file_that_changed_after_the_manifest_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_model(tmp_path / "model")
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ModelFault, match=f"{name} has sha256"):
        setup(Folder(folder))
    (folder / name).write_bytes(content + b" ")
    with pytest.raises(ModelFault, match=f"{name} has {len(content) + 1} bytes"):
        setup(Folder(folder))


def test_a_model_of_another_run_than_asked_for_is_refused(model_folder: Path) -> None:
    with pytest.raises(ModelFault, match=f"of run {RUN}, but the address says default-other"):
        setup(Folder(model_folder), "default-other")


def test_another_contract_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "contract": 2}))
    with pytest.raises(ModelFault, match="not of contract 1"):
        setup(Folder(folder))


def test_rows_of_very_different_length_go_through_in_bounded_batches() -> None:
    widths = [1, 900, 2, 1000, 3, 1]
    made = list(batches(widths, each=10, cells=10_000))
    assert sorted(place for batch in made for place in batch) == list(range(6))
    assert made == [[0, 5, 2, 4], [1], [3]]
    assert list(batches([50_000], each=1000, cells=10)) == [[0]]


def test_batches_do_not_change_an_answer(model: Model) -> None:
    texts = ["good film " * (n % 7) + "not good" * (n % 3) for n in range(50)]
    whole = model.predict(model.decode(texts))
    small = replace(model, cells=12)
    assert np.allclose(small.predict(model.decode(texts)), whole, atol=1e-6)


def test_scores_are_in_the_order_of_the_labels(model: Model) -> None:
    turned = replace(model, labels=("b", "a"))
    assert turned.encode(np.array([[0.25, 0.75]], dtype=np.float32)) == [
        {"label": "a", "probability": 0.75, "scores": {"b": 0.25, "a": 0.75}}
    ]
