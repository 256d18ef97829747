"""What a new task must answer before its release serves."""

from __future__ import annotations

from typing import Any

import pytest
from controlplane.domain.probes import (
    GoldenRow,
    Proof,
    Question,
    Reply,
    Verdict,
    golden_rows,
    of_answers,
    of_readiness,
    of_version,
    requests,
)

DIGEST = "sha256:" + "7" * 64
ROWS = (GoldenRow("warm", "pos"), GoldenRow("dull", "neg"), GoldenRow("fine", "pos"))
ASKED = Question(7, DIGEST, "films-1", ROWS)
BARE = Question(7, DIGEST, None)
NAMES: dict[str, Any] = {"release": "7", "digest": DIGEST, "model": "films-1"}


def answers(*labels: str) -> Reply:
    return Reply(200, {"predictions": [{"label": label} for label in labels]})


class TestItsName:
    def test_release_digest_and_model_are_ours(self) -> None:
        assert of_version(ASKED, Reply(200, NAMES)) is None

    @pytest.mark.parametrize(
        ("name", "other"), [("release", "6"), ("release", None), ("digest", "sha256:1"), ("model", "films-0")]
    )
    def test_another_name_disagrees(self, name: str, other: str | None) -> None:
        proof = of_version(ASKED, Reply(200, {**NAMES, name: other}))
        assert proof and proof.verdict is Verdict.DISAGREES
        assert f"names {name} {other!r}, but {NAMES[name]!r} was rolled out" in proof.why

    @pytest.mark.parametrize("reply", [Reply(404), Reply(200), Reply(200, ["7"])])
    def test_an_image_that_does_not_say_it_disagrees(self, reply: Reply) -> None:
        proof = of_version(ASKED, reply)
        assert proof and proof.verdict is Verdict.DISAGREES

    def test_a_task_in_trouble_is_not_ready(self) -> None:
        proof = of_version(ASKED, Reply(502))
        assert proof and proof.verdict is Verdict.NOT_READY


class TestItsReadiness:
    def test_with_a_model_it_is_ready(self) -> None:
        assert of_readiness(ASKED, Reply(200, {"ready": True})) is None

    def test_not_yet_is_no_disagreement(self) -> None:
        assert of_readiness(ASKED, Reply(503, {"ready": False, "reason": "loading"})) == Proof(
            Verdict.NOT_READY, "GET /ready answered 503: loading"
        )

    def test_without_a_model_it_says_that_it_has_none(self) -> None:
        assert of_readiness(BARE, Reply(503, {"ready": False, "reason": "There is no model yet."})) is None

    @pytest.mark.parametrize("reply", [Reply(200, {"ready": True}), Reply(503), Reply(404)])
    def test_without_a_model_anything_else_disagrees(self, reply: Reply) -> None:
        proof = of_readiness(BARE, reply)
        assert proof and proof.verdict is Verdict.DISAGREES


class TestTheGoldenSet:
    def test_the_trainers_labels_agree(self) -> None:
        assert of_answers(ASKED, answers("pos", "neg", "pos")).verdict is Verdict.AGREES

    def test_one_other_label_disagrees_and_is_shown(self) -> None:
        assert of_answers(ASKED, answers("pos", "pos", "pos")) == Proof(
            Verdict.DISAGREES,
            "golden set: 1 of 3 rows got another label, e.g. 'dull' got 'pos', but the trainer got 'neg'",
        )

    @pytest.mark.parametrize(
        "reply",
        [answers("pos", "neg"), Reply(422, {"error": "no"}), Reply(200), Reply(200, {"predictions": ["pos"] * 3})],
    )
    def test_an_answer_of_another_shape_disagrees(self, reply: Reply) -> None:
        assert of_answers(ASKED, reply).verdict is Verdict.DISAGREES

    def test_a_task_that_cannot_answer_now_is_not_ready(self) -> None:
        assert of_answers(ASKED, Reply(503)).verdict is Verdict.NOT_READY


class TestWhatIsAsked:
    def test_rows_are_text_and_label(self) -> None:
        told = [{"text": "warm", "label": "pos", "probabilities": [0.1, 0.9]}]
        assert golden_rows(told) == (GoldenRow("warm", "pos"),)

    def test_what_serving_would_refuse_is_not_asked(self) -> None:
        told = [{"text": text, "label": "pos"} for text in (" ", "a" * 100_001, "fine")]
        assert golden_rows(told) == (GoldenRow("fine", "pos"),)

    def test_no_more_than_one_call_can_carry(self) -> None:
        told = [{"text": "a" * 90_000, "label": "pos"}] * 64
        assert len(golden_rows(told)) == 11

    @pytest.mark.parametrize("told", [None, {}, ["warm"], [{"text": 1, "label": "pos"}], [{"text": "warm"}]])
    def test_what_is_no_golden_set_is_none(self, told: object) -> None:
        assert golden_rows(told) == ()


class TestALongGoldenSet:
    LONG = Question(7, DIGEST, "films-1", tuple(GoldenRow(f"text {number}", "pos") for number in range(6)))

    def test_is_asked_in_several_requests(self) -> None:
        assert [len(rows) for rows in requests(self.LONG)] == [4, 2]
        assert list(requests(BARE)) == []

    def test_agrees_when_every_row_does(self) -> None:
        proof = of_answers(self.LONG, answers(*["pos"] * 4), answers("pos", "pos"))
        assert proof == Proof(Verdict.AGREES, "all 6 rows of the golden set got the trainer's labels")

    def test_that_is_answered_in_part_neither_agrees_nor_disagrees(self) -> None:
        proof = of_answers(self.LONG, answers(*["pos"] * 4), silence="TimeoutError")
        assert proof.verdict is Verdict.NO_ANSWER
        assert "4 of 6 rows of the golden set agree" in proof.why and "TimeoutError" in proof.why

    def test_disagrees_by_the_rows_that_were_answered(self) -> None:
        proof = of_answers(self.LONG, answers("pos", "pos", "pos", "neg"), silence="TimeoutError")
        assert proof.verdict is Verdict.DISAGREES and "1 of 4 rows" in proof.why

    def test_of_a_task_in_trouble_on_the_way_is_not_ready(self) -> None:
        assert of_answers(self.LONG, answers(*["pos"] * 4), Reply(503)).verdict is Verdict.NOT_READY
