"""Models of the kinds `tokens` and `text`: verified, answered and explained like any other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inference import occlude
from inference.explain import explain
from inference.kinds import Tokens
from inference.model import Model, setup
from inference.problems import ModelFault
from inference.source import Folder
from jsonschema import Draft202012Validator

from tests.serving.conftest import Service, by_contract, service
from tests.serving.other_kinds import TOKENS, write_text, write_tokens
from tests.serving.test_model import CONTRACTS
from tests.serving.tiny_model import GOLDEN, graph
from trainer.model_files import Model as TrainersModel

KINDS = {"tokens": write_tokens, "text": write_text}
TEXTS = [*GOLDEN, "", "a <b>GREAT</b> film " * 9, "ÜBER don't \x00 " * 5, "bad " * 300]


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return KINDS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return setup(Folder(folder))


@pytest.fixture
def served(model: Model) -> Iterator[Service]:
    with service(model) as running:
        yield running


def test_the_tiny_models_are_by_the_contract(folder: Path) -> None:
    told = json.loads((CONTRACTS / "model_files.json").read_text())
    validator = Draft202012Validator({**told["$defs"]["features"], "$defs": told["$defs"]})
    validator.validate(json.loads((folder / "features.json").read_text()))


def test_service_and_trainer_read_any_text_alike(model: Model, folder: Path) -> None:
    theirs = np.array(list(TrainersModel(folder).answer(TEXTS)))
    ours = model.predict(model.decode(TEXTS))
    assert np.abs(ours - theirs).max() < 1e-6
    small = replace(model, cells=1)
    assert np.abs(small.predict(small.decode(TEXTS)) - ours).max() < 1e-6


def test_the_words_that_are_missed_the_most_are_told(served: Service) -> None:
    asked = {"text": "It is an awful, awful film, with good music"}
    said = served.client.post("/explain", json=asked).json()
    by_contract("prediction", by_contract("predict_response", said))
    assert said["label"] == "negative"
    pushes = {one["word"]: one["push"] for one in said["words"]}
    assert said["words"][0]["word"] == "awful" and pushes["awful"] > 0 > pushes["good"]
    assert said["sentence"].startswith("“awful”") and "“good”" in said["sentence"].partition("against")[0]
    assert "".join(piece["text"] for piece in said["pieces"]) == asked["text"]
    assert said["scores"] == served.client.post("/predict", json=asked).json()["scores"]


def test_half_a_character_and_a_text_without_words_are_answered(served: Service) -> None:
    for text in (b'{"text": "good \\ud83d"}', b'{"text": "..."}', '{"text": "好的 電影 😀"}'.encode()):
        for path in ("/predict", "/explain"):
            assert served.client.post(path, content=text).status_code == 200


def test_an_explanation_asks_a_bounded_number_of_times() -> None:
    assert [run.word for run in occlude.groups("Not good, but isn't it long!")] == [
        "Not", "good", "but", "isn't", "it", "long", "!",
    ]  # fmt: skip
    many = occlude.groups("one two three " * 2000)
    assert len(many) == occlude.FEWEST
    assert many[0].start == 0 and many[-1].end == len("one two three " * 2000) - 1
    assert len(occlude.groups("word " * 200)) <= occlude.MOST


def test_of_a_long_text_only_what_the_model_reads_is_explained(tmp_path: Path) -> None:
    loaded = setup(Folder(write_tokens(tmp_path / "m")))
    said = explain(loaded, "good " + "film " * 10 + "awful " * 50)
    assert "awful" not in "".join(piece["text"] for piece in said["pieces"])
    assert said["words"][0]["word"] == "good"


def test_the_first_tokens_are_read_tags_stripped_and_special_ones_counted(tmp_path: Path) -> None:
    reader = setup(Folder(write_tokens(tmp_path / "m"))).reader
    assert isinstance(reader, Tokens)
    assert len(reader.read("good " * 50)) == TOKENS["max_tokens"]
    assert reader.read("<br>Good") == [2, reader.tokenizer.token_to_id("good")]
    assert reader.feed([[2, 5], [2]])["attention_mask"].tolist() == [[1, 1], [1, 0]]


FAULTS = {
    "a kind of the future": ({"features_json": b'{"kind": "images"}'}, "kind 'images'; this image reads ngrams"),
    "no object": ({"features_json": b"[]"}, "features.json must be an object"),
    "a knob too many": ({"features_json": json.dumps({**TOKENS, "x": 1}).encode()}, "must have exactly kind"),
    "a wrong type": ({"features_json": json.dumps({**TOKENS, "padding_id": "0"}).encode()}, "wrong type in padding_id"),
    "no tokens at all": ({"features_json": json.dumps({**TOKENS, "max_tokens": 0}).encode()}, "at least 1"),
    "a broken pattern": ({"features_json": json.dumps({**TOKENS, "strip_pattern": "("}).encode()}, "does not compile"),
    "text with more": ({"features_json": b'{"kind": "text", "lowercase": true}'}, "nothing but its kind"),
    "no tokenizer": ({"tokenizer_json": b"{}"}, "tokenizer.json cannot be used"),
    "a graph of another kind": (
        {"model_onnx": graph(np.zeros((3, 2)), np.zeros(2))},
        "must take 'input_ids' and 'attention_mask' and give 'probabilities'",
    ),
}


@pytest.mark.parametrize(("changed", "words"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_model_is_refused_with_the_reason(tmp_path: Path, changed: dict[str, bytes], words: str) -> None:
    with pytest.raises(ModelFault, match=words):
        setup(Folder(write_tokens(tmp_path / "m", **changed)))
