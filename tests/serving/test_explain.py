"""The words that pushed an answer, and that their pushes add up."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from inference.explain import explain, listed, toward
from inference.model import Model, setup
from inference.source import Folder

from tests.serving.conftest import Service, by_contract
from tests.serving.tiny_model import write_model


def test_the_pushes_of_all_words_sum_to_the_margin_without_the_bias(model: Model) -> None:
    said = explain(model, "Not good, but a great film with an amazing, amazing end!")
    won, lost = said["probability"], 1 - said["probability"]
    assert said["label"] == "positive"
    assert said["total_push"] == pytest.approx(math.log(won / lost) - math.log(1.1), abs=1e-3)
    assert sum(word["push"] for word in said["words"]) == pytest.approx(said["total_push"], abs=1e-3)
    assert sum(piece["push"] for piece in said["pieces"]) == pytest.approx(said["total_push"], abs=1e-3)


def test_a_phrase_is_shared_by_its_words(model: Model) -> None:
    said = explain(model, "not good")
    pushes = {one["word"]: one["push"] for one in said["words"]}
    scale = 1 / math.sqrt(3)
    assert said["label"] == "negative"
    assert pushes == pytest.approx({"not": (0.5 + 2) * scale, "good": (-1.5 + 2) * scale}, abs=1e-3)
    assert said["features"][0]["feature"] == "not good"


def test_the_pieces_are_the_whole_text_in_order(model: Model) -> None:
    text = "  Well: the FILM was <b>Amazing</b>, not bad.  "
    said = explain(model, text)
    assert "".join(piece["text"] for piece in said["pieces"]) == "  Well: the FILM was  Amazing , not bad.  "
    assert {piece["text"] for piece in said["pieces"] if piece["push"]} == {"Amazing", "not", "bad"}


def test_the_sentence_names_words_on_both_sides(model: Model) -> None:
    assert explain(model, "An amazing film, great, not bad!")["sentence"] == (
        "“amazing” and “great” pushed it toward “positive”; “bad” and “not” pushed against it."
    )
    assert "No word of this text is known" in explain(model, "zzz")["sentence"]
    assert explain(model, "!")["sentence"].startswith("“!” pushed it")
    assert listed(["a", "b", "c"]) == "a, b and c"


def test_with_many_classes_a_push_is_away_from_the_average_of_the_others(tmp_path: Path) -> None:
    contributions = np.array([[1.0, 4.0, 2.0]], dtype=np.float32)
    assert toward(contributions, 1) == [2.5]
    three = setup(Folder(write_model(tmp_path / "three", labels=["bad", "so so", "good"])))
    assert explain(three, "amazing")["words"][0]["push"] == pytest.approx(1.5 - (-1.5 + 0) / 2, abs=1e-3)


def test_the_route_answers_with_the_label_and_the_words(served: Service) -> None:
    said = served.client.post("/explain", json={"text": "awful, just awful"}).json()
    by_contract("prediction", by_contract("predict_response", said))
    assert said["label"] == "negative"
    assert said["words"][0]["word"] == "awful"
    assert [piece["text"] for piece in said["pieces"]] == ["awful", ", just ", "awful"]
