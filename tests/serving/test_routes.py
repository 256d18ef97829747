"""Every route, by the contract `serving.json`, in this process."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from inference.bodies import MAX_BYTES, PREDICT_REQUEST
from inference.model import Model

from tests.serving.conftest import CONTRACT, SETTINGS, Service, by_contract, service
from tests.serving.tiny_model import RUN, SNAPSHOT


def test_a_text_gets_its_label_probability_and_scores(served: Service) -> None:
    response = served.client.post("/predict", json={"text": "The movie was amazing!"})
    said = by_contract("prediction", by_contract("predict_response", response.json()))
    assert response.status_code == 200
    assert said["label"] == "positive"
    assert said["probability"] == said["scores"]["positive"] > 0.9
    assert sum(said["scores"].values()) == pytest.approx(1, abs=1e-5)
    assert (said["model"], said["release"]) == (RUN, "7")
    assert said["ms"] > 0


def test_several_texts_are_answered_in_their_order(served: Service) -> None:
    texts = ["awful", "great", "bad bad film", "x", "amazing " * 50, "not good"]
    said = by_contract("predict_response", served.client.post("/predict", json={"texts": texts}).json())
    assert [one["label"] for one in said["predictions"]] == [
        "negative", "positive", "negative", "positive", "positive", "negative",
    ]  # fmt: skip
    for one in said["predictions"]:
        by_contract("prediction", one)


def test_a_batch_gives_what_the_texts_give_alone(served: Service) -> None:
    texts = ["good film " * n + "not good" * (n % 3) for n in range(1, 257)]
    together = served.client.post("/predict", json={"texts": texts}).json()["predictions"]
    alone = [served.client.post("/predict", json={"text": text}).json()["scores"] for text in texts[:40]]
    for one, other in zip(together, alone, strict=False):
        assert one["scores"] == pytest.approx(other, abs=2e-6)
    assert len(together) == 256


def test_a_large_text_is_answered_by_a_worker_thread_and_no_differently(served: Service) -> None:
    long = ("great film " * 9000)[:100_000]
    assert served.client.post("/predict", json={"text": long}).json()["label"] == "positive"


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "not JSON"),
    "no JSON": (b"text=hello", 400, "not JSON"),
    "not UTF-8": (b'{"text": "\xff"}', 400, "not JSON"),
    "endless nesting": (b"[" * 100_000, 400, "not JSON"),
    "a list": (b'["hello"]', 422, "not a JSON object"),
    "no field": (b"{}", 422, "exactly one"),
    "both fields": (b'{"text": "a", "texts": ["a"]}', 422, "exactly one"),
    "unknown field": (b'{"text": "a", "lang": "en"}', 422, "'lang'"),
    "a number": (b'{"text": 7}', 422, "not a string"),
    "null": (b'{"text": null}', 422, "not a string"),
    "empty": (b'{"text": ""}', 422, "text is empty"),
    "blank": (b'{"text": " \\n\\t "}', 422, "text is empty"),
    "no texts": (b'{"texts": []}', 422, "at least one"),
    "texts is a string": (b'{"texts": "a"}', 422, "must be a list"),
    "one of them empty": (b'{"texts": ["a", ""]}', 422, "texts[1] is empty"),
    "too many": (json.dumps({"texts": ["a"] * 257}).encode(), 413, "257 texts"),
    "too long": (json.dumps({"text": "a" * 100_001}).encode(), 413, "100,001 characters"),
    "too large": (b" " * (MAX_BYTES + 1), 413, "larger than 8 MiB"),
}


@pytest.mark.parametrize(("body", "status", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_answered_is_refused_in_a_sentence(
    served: Service, body: bytes, status: int, words: str
) -> None:
    response = served.client.post("/predict", content=body)
    assert response.status_code == status
    said = by_contract("problem", response.json())
    assert words in said["error"]
    assert said["what_to_do"].endswith(".")
    assert response.headers["x-tidegate-release"] == "7"


def test_explain_takes_one_text_only(served: Service) -> None:
    response = served.client.post("/explain", json={"texts": ["a"]})
    assert response.status_code == 422
    assert "'texts'" in by_contract("problem", response.json())["error"]


def test_odd_characters_are_answered(served: Service) -> None:
    for text in ["\x00", "\ud800", "🎬", "İ", "a" * 100_000, "<" * 1000, "a\u2028b", "ﬁlm", "e\u0301"]:
        response = served.client.post("/explain", content=json.dumps({"text": text}))
        assert response.status_code == 200, text
        by_contract("prediction", response.json())


def test_a_path_or_method_that_is_not_there_says_what_is(served: Service) -> None:
    missing = served.client.get("/prediction")
    assert missing.status_code == 404
    assert "POST /predict" in by_contract("problem", missing.json())["what_to_do"]
    wrong = served.client.get("/predict")
    assert wrong.status_code == 405
    assert by_contract("problem", wrong.json())["what_to_do"] == "Use POST."


def test_health_ready_and_version_with_a_model(served: Service) -> None:
    assert by_contract("health", served.client.get("/health").json())
    ready = served.client.get("/ready")
    assert (ready.status_code, by_contract("ready", ready.json())) == (200, {"ready": True})
    version = by_contract("version", served.client.get("/version").json())
    assert version == {
        "release": "7",
        "image": SETTINGS.image,
        "digest": "sha256:" + "ab" * 32,
        "model": RUN,
        "snapshot": SNAPSHOT,
        "image_version": "3",
    }
    assert served.client.head("/health").status_code == 200


def test_without_a_model_it_lives_but_is_not_ready_and_says_what_to_do(empty: Service) -> None:
    assert empty.client.get("/health").status_code == 200
    ready = empty.client.get("/ready")
    assert ready.status_code == 503
    assert "MODEL_URI is empty" in by_contract("problem", by_contract("ready", ready.json()))["reason"]
    for path in ("/predict", "/explain"):
        refused = empty.client.post(path, json={"text": "hello"})
        assert refused.status_code == 503
        assert "raw/" in by_contract("problem", refused.json())["what_to_do"]
    version = by_contract("version", empty.client.get("/version").json())
    assert (version["model"], version["snapshot"]) == (None, None)


def test_while_draining_ready_is_503_answers_go_on_and_connections_close(served: Service) -> None:
    served.life.draining = True
    ready = served.client.get("/ready")
    assert ready.status_code == 503
    by_contract("problem", by_contract("ready", ready.json()))
    answered = served.client.post("/predict", json={"text": "great"})
    assert answered.status_code == 200
    assert answered.headers["connection"] == "close"
    assert served.client.get("/health").status_code == 200


def test_without_a_release_no_header_claims_one(model: Model) -> None:
    with service(model, replace(SETTINGS, release=None, image=None)) as running:
        response = running.client.post("/predict", json={"text": "great"})
        assert "x-tidegate-release" not in response.headers
        assert by_contract("predict_response", response.json())["release"] is None
        assert by_contract("version", running.client.get("/version").json())["digest"] is None


class Broken:
    """A session that fails as ONNX Runtime would."""

    def run(self, *_: Any) -> list[np.ndarray[Any, Any]]:
        raise RuntimeError("Non-zero status code returned while running Gather node")


def test_a_defect_is_a_sentence_for_the_person_and_counted(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    with service(replace(model, session=Broken())) as running:
        response = running.client.post("/predict", json={"text": "great"})
        assert response.status_code == 500
        assert "Gather" not in json.dumps(by_contract("problem", response.json()))
        assert response.headers["x-tidegate-release"] == "7"
        running.metrics.flush()
    assert "Gather" in caplog.text
    assert json.loads(running.lines[0])["Errors"] == 1


class NotANumber:
    def run(self, *_: Any) -> list[np.ndarray[Any, Any]]:
        return [np.array([[np.nan, np.nan]], dtype=np.float32)]


def test_a_probability_that_is_no_number_is_never_told(model: Model) -> None:
    with service(replace(model, session=NotANumber())) as running:
        assert running.client.post("/predict", json={"text": "great"}).status_code == 500


def test_the_published_schema_is_the_contracts(served: Service) -> None:
    paths = served.client.get("/openapi.json").json()["paths"]
    schema = paths["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema == PREDICT_REQUEST == CONTRACT["$defs"]["predict_request"]


def test_metrics_tell_of_answers_and_never_of_texts(served: Service) -> None:
    served.client.post("/predict", json={"texts": ["amazing secret", "awful secret", "great secret"]})
    served.client.post("/predict", content=b"secret")
    served.client.get("/health")
    served.metrics.flush()
    line = json.loads(served.lines[0])
    assert (line["Requests"], line["Refused"], line["Errors"]) == (2, 1, 0)
    assert len(line["Latency"]) == 1
    assert len(line["Confidence"]) == 3
    assert line["class_share"] == {"positive": 0.6667, "negative": 0.3333}
    assert "secret" not in "".join(served.lines)
