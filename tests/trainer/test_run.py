"""Whole attempts against a bucket: what is asked for, what is left there, and how it ends."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import torch

from tests.trainer.bench import BUCKET, CONTRACTS, LIMITS, Bench, as_csv, check, reviews, ticking
from trainer.machine import Notice, Watch
from trainer.model_files import Model
from trainer.store import S3Store


def sha256_of_weights(bench: Bench, run_id: str) -> str:
    sha256: str = bench.manifest(run_id)["files"]["model.pt"]["sha256"]
    return sha256


def test_a_snapshot_becomes_a_model_that_follows_every_contract(trained: Bench) -> None:
    manifest = trained.manifest("first")
    for name, listed in manifest["files"].items():
        body = trained.store.get(f"models/first/{name}")
        assert hashlib.sha256(body).hexdigest() == listed["sha256"]
        assert len(body) == listed["bytes"]
    assert manifest["labels"] == ["neg", "pos"]
    assert manifest["metrics"]["accuracy"] > 0.75 > manifest["metrics"]["majority_share"]
    assert manifest["rows"]["train"] + manifest["rows"]["validation"] + manifest["rows"]["test"] == 400
    assert manifest["comparison"] is None
    check("progress", trained.json("logs/first/1/progress.json"))
    assert trained.outcome("first")["outcome"] == "trained"
    schemas = json.loads((CONTRACTS / "model_files.json").read_text(encoding="utf-8"))["$defs"]
    for name in ("features", "labels", "golden"):
        whole = {"$defs": schemas, "$ref": f"#/$defs/{name}"}
        jsonschema.validate(trained.json(f"models/first/{name}.json"), whole, cls=jsonschema.Draft202012Validator)


def test_logs_plots_rows_and_profile_are_left_for_people(trained: Bench) -> None:
    keys = set(trained.store.keys("logs/first/1/"))
    for name in ("train.log", "progress.json", "outcome.json", "plots/loss.png", "plots/confusion.png"):
        assert f"logs/first/1/{name}" in keys
    assert any("events.out.tfevents" in key for key in keys)
    test_rows = pq.read_table(io.BytesIO(trained.store.get("processed/first/test.parquet")))
    assert test_rows.num_rows == trained.manifest("first")["rows"]["test"]
    profile = trained.json("processed/first/profile.json")
    assert sum(profile["class_shares"].values()) == pytest.approx(1)
    assert "plots/calibration.png" in trained.store.get("models/first/model-card.md").decode()


def test_another_reader_of_the_model_gives_the_golden_answers(trained: Bench, tmp_path: Path) -> None:
    for name in ("model.onnx", "vocabulary.txt", "features.json", "labels.json"):
        trained.store.download(f"models/first/{name}", tmp_path / name)
    golden = trained.json("models/first/golden.json")
    answers = list(Model(tmp_path).answer(row["text"] for row in golden))
    for row, scores in zip(golden, answers, strict=True):
        assert scores == pytest.approx(row["probabilities"], abs=1e-4)
        assert trained.json("models/first/labels.json")[int(scores.argmax())] == row["label"]


def test_torch_and_onnx_agree_and_contributions_add_up_to_the_answer(trained: Bench) -> None:
    weights = torch.load(io.BytesIO(trained.store.get("models/first/model.pt")), weights_only=True)
    session = onnxruntime.InferenceSession(trained.store.get("models/first/model.onnx"))
    size = len(weights["weight"])
    ids = np.array([[0, 3, 7], [1, size, size], [size, size, size]], dtype=np.int64)
    probabilities, contributions = session.run(None, {"ids": ids})
    for row, scores, pushes in zip(ids, probabilities, contributions, strict=True):
        known = torch.from_numpy(row[row < size])
        length = torch.linalg.vector_norm(weights["idf"][known]) if len(known) else torch.tensor(1.0)
        logits = weights["weight"][known].sum(0) / length + weights["bias"]
        assert scores == pytest.approx(logits.softmax(0).numpy(), abs=1e-6)
        assert pushes.sum(0) + weights["bias"].numpy() == pytest.approx(logits.numpy(), abs=1e-5)
        assert not pushes[row == size].any()


def test_the_same_snapshot_gives_the_same_bytes(trained: Bench) -> None:
    spec = trained.json("runs/first/spec.json")
    trained.ask("again", *spec["snapshot"]["objects"])
    assert trained.run("again") == 0
    first, again = trained.manifest("first")["files"], trained.manifest("again")["files"]
    for name in ("model.pt", "model.onnx", "vocabulary.txt", "golden.json"):
        assert first[name] == again[name]


def test_an_attempt_after_success_changes_nothing(trained: Bench) -> None:
    before = {each["Key"]: each["VersionId"] for each in trained.s3.list_object_versions(Bucket=BUCKET)["Versions"]}
    assert trained.run("first", number=2) == 0
    after = {each["Key"]: each["VersionId"] for each in trained.s3.list_object_versions(Bucket=BUCKET)["Versions"]}
    assert before == after


class NoticeAfter(Watch):
    """A machine that is told to go away once the fit has looked at the notice so many times."""

    def __init__(self, looks: int) -> None:
        super().__init__(ticking())
        self.looks = looks

    @property
    def notice(self) -> Notice | None:
        self.looks -= 1
        return Notice("spot", "Spot notice: terminate at 2026-01-01T00:02:00Z") if self.looks < 0 else None


@pytest.mark.resume
@pytest.mark.parametrize("looks", [20, 22, 27, 32])
def test_a_resumed_run_ends_in_the_same_weights_as_one_never_interrupted(trained: Bench, looks: int) -> None:
    trained.ask("broken", *trained.json("runs/first/spec.json")["snapshot"]["objects"])
    assert trained.run("broken", 1, NoticeAfter(looks)) == 4
    told = trained.outcome("broken", 1)
    assert (told["outcome"], told["cause"]) == ("interrupted", "spot")
    assert told["reason"].endswith(f"; saved step {told['step']}.")
    assert told["reason"].startswith("Spot notice: terminate at 2026-01-01T00:02:00Z; saved step ")
    assert not trained.store.exists("models/broken/manifest.json")
    assert trained.run("broken", 2) == 0
    assert "resumed from the checkpoint of step" in trained.store.get("logs/broken/2/train.log").decode()
    assert sha256_of_weights(trained, "broken") == sha256_of_weights(trained, "first")
    manifest = trained.manifest("broken")
    assert (manifest["attempt"], manifest["resumed"]) == (2, told["step"])


def test_a_notice_while_reading_ends_the_attempt_without_a_checkpoint(bench: Bench) -> None:
    bench.ask("early", bench.drop("raw/a.csv", as_csv(reviews(60))))
    watch = Watch(ticking())
    watch.give_notice("rebalance", "Rebalance recommendation of 2026-01-01T00:00:00Z")
    assert bench.run("early", 1, watch) == 4
    assert bench.outcome("early")["reason"].startswith(
        "Rebalance recommendation of 2026-01-01T00:00:00Z; nothing to save"
    )
    assert bench.store.keys("checkpoints/early/") == []


def test_a_checkpoint_without_its_marker_or_with_other_knobs_is_not_taken_up(trained: Bench) -> None:
    objects = trained.json("runs/first/spec.json")["snapshot"]["objects"]
    trained.ask("other", *objects)
    assert trained.run("other", 1, NoticeAfter(22)) == 4
    trained.ask("other", *objects, knobs={"threads": 1, "smoothing": 0.5})
    assert trained.run("other", 2) == 0
    assert "resumed" not in trained.store.get("logs/other/2/train.log").decode()
    trained.ask("torn", *objects)
    assert trained.run("torn", 1, NoticeAfter(22)) == 4
    trained.store.delete([key for key in trained.store.keys("checkpoints/torn/") if key.endswith("READY.json")])
    assert trained.run("torn", 2) == 0
    assert "resumed" not in trained.store.get("logs/torn/2/train.log").decode()


def test_the_champion_answers_the_same_test_rows(trained: Bench) -> None:
    drop = trained.json("runs/first/spec.json")["snapshot"]["objects"][0]
    more = trained.drop(
        "raw/more.csv", as_csv(reviews(600, seed=2), "Sentiment_text,TEXT,label").replace(b'"the', b'x,"the')
    )
    trained.ask("second", drop, more, champion="first")
    assert trained.run("second") == 0, trained.outcome("second")
    manifest = trained.manifest("second")
    counts = manifest["comparison"]
    assert counts["champion"] == "first"
    rows = manifest["metrics"]["rows"]
    both = counts["both_right"]
    assert (
        sum(counts[each] for each in ("both_right", "only_challenger_right", "only_champion_right", "both_wrong"))
        == rows
    )
    assert (both + counts["only_challenger_right"]) / rows == pytest.approx(manifest["metrics"]["accuracy"])
    assert (both + counts["only_champion_right"]) / rows == pytest.approx(counts["metrics"]["accuracy"])


def test_a_champion_with_other_labels_is_wrong_where_it_does_not_know_the_label(trained: Bench) -> None:
    renamed = [(text, {"pos": "good", "neg": "neg"}[label]) for text, label in reviews(400)]
    trained.ask("renamed", trained.drop("raw/renamed.csv", as_csv(renamed)), champion="first")
    assert trained.run("renamed") == 0
    manifest = trained.manifest("renamed")
    assert manifest["labels"] == ["good", "neg"]
    assert manifest["comparison"]["metrics"]["per_class_recall"]["good"] == 0
    assert manifest["comparison"]["metrics"]["per_class_recall"]["neg"] > 0.5


def test_a_damaged_champion_fails_the_run_with_a_sentence(trained: Bench) -> None:
    objects = trained.json("runs/first/spec.json")["snapshot"]["objects"]
    trained.store.put("models/first/labels.json", b'["pos", "neg"]')
    trained.ask("second", *objects, champion="first")
    assert trained.run("second") == 3
    assert "The champion first is damaged: labels.json" in trained.outcome("second")["reason"]
    trained.ask("third", *objects, champion="nobody")
    assert trained.run("third") == 3
    assert "The champion nobody is incomplete" in trained.outcome("third")["reason"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"knobs": {"epochs": 3}},
            "Unknown knob 'epochs'; recipe 'linear' knows history, hours_between",
        ),
        ({"knobs": {"passes": 0}}, "Knob 'passes' must be a whole number of at least 1, not 0."),
        ({"knobs": {"l2": []}}, "Knob 'l2' must be a list of numbers above 0, not []."),
        ({"recipe": "forest"}, "Unknown recipe 'forest'; this trainer knows linear, transformer."),
        ({"columns": {"text": "body", "label": None}}, "has no text column: looked for 'body'"),
    ],
)
def test_a_spec_that_cannot_be_obeyed_fails_for_good(bench: Bench, changes: dict[str, Any], sentence: str) -> None:
    bench.ask("odd", bench.drop("raw/a.csv", as_csv(reviews(60))), **changes)
    assert bench.run("odd") == 3
    assert sentence in bench.outcome("odd")["reason"]


@pytest.mark.parametrize(
    ("limits", "cause", "sentence"),
    [
        ({"max_hours": 1e-9}, "hours", "The 1e-09 hours that this attempt may take are used up: raise MaxRunHours"),
        (
            {"max_cost": 0.001, "prices": {"unknown": {"unknown": {"spot": 1.0, "on_demand": 1e6}}}},
            "cost",
            "The $0.001 that this attempt may cost are used up at $1e+06 an hour: raise MaxRunCost, then drop again",
        ),
    ],
)
def test_a_limit_that_is_reached_stops_the_run_and_says_what_to_raise(
    bench: Bench, limits: dict[str, Any], cause: str, sentence: str
) -> None:
    bench.ask("dear", bench.drop("raw/a.csv", as_csv(reviews(60))), limits=LIMITS | limits)
    assert bench.run("dear") == 5
    told = bench.outcome("dear")
    assert (told["outcome"], told["cause"], told["step"]) == ("stopped", cause, None)
    assert sentence in told["reason"]


def test_a_run_without_a_spec_fails_for_good(bench: Bench) -> None:
    assert bench.run("nothing") == 3
    assert "runs/nothing/spec.json is not in the bucket" in bench.outcome("nothing")["reason"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (as_csv([(text, "pos") for text, _ in reviews(60)]), "All rows have the label 'pos'; a model needs at least 2"),
        (as_csv(reviews(12)), "Only 12 usable rows are left; at least 20 are needed."),
        (b"text,label\n", "The snapshot has no rows below its header"),
        (
            as_csv([(text, "") for text, _ in reviews(30)] + reviews(70)),
            "30 of 100 rows (30.0%) were refused; the limit is 5%",
        ),
        (
            as_csv([(text, f"x{n % 1001}") for n, (text, _) in enumerate(reviews(2100))]),
            "1,001 different labels; at most 1,000",
        ),
        (b"\x00\x01\x02\xff\xfe", "The header of raw/a.csv cannot be read"),
    ],
)
def test_data_that_cannot_be_trained_on_fails_for_good_and_says_why(bench: Bench, body: bytes, sentence: str) -> None:
    bench.ask("bad", bench.drop("raw/a.csv", body))
    assert bench.run("bad") == 3
    assert sentence in bench.outcome("bad")["reason"]


def test_refused_rows_are_listed_with_file_line_reason_and_sample(bench: Bench) -> None:
    body = (
        as_csv(reviews(100))
        + b'"a fine film",\n"caf\xe9 noir",pos\none,two,three\n"unclosed,pos\n"the last, good",pos\n'
    )
    bench.ask("some", bench.drop("raw/a.csv", body))
    assert bench.run("some") == 0, bench.outcome("some")
    refused = list(csv.reader(io.StringIO(bench.store.get("processed/some/rejected.csv").decode(), newline="")))
    assert refused == [
        ["object", "row", "reason", "sample"],
        ["raw/a.csv", "102", "no label", "a fine film,"],
        ["raw/a.csv", "103", "not UTF-8", "caf\ufffd noir,pos"],
        ["raw/a.csv", "104", "wrong number of columns", "one,two,three"],
        ["raw/a.csv", "105", "broken quotes", '"unclosed,pos\n'],
    ]
    assert bench.manifest("some")["rows"]["rejected"] == 4
    assert bench.manifest("some")["rows"]["accepted"] == 101


def test_a_file_that_changed_since_the_snapshot_is_not_trained_on(bench: Bench) -> None:
    drop = bench.drop("raw/a.csv", as_csv(reviews(60)))
    bench.ask("other-etag", drop | {"etag": "0" * 32})
    assert bench.run("other-etag") == 3
    assert "is not the one of the snapshot" in bench.outcome("other-etag")["reason"]
    bench.s3.delete_object(Bucket=BUCKET, Key="raw/a.csv", VersionId=drop["version_id"])
    bench.ask("gone", drop)
    assert bench.run("gone") == 3
    assert "is not in the bucket any more" in bench.outcome("gone")["reason"]


def test_the_version_of_the_snapshot_is_read_not_the_newest(bench: Bench) -> None:
    drop = bench.drop("raw/a.csv", as_csv(reviews(100)))
    bench.drop("raw/a.csv", b"text,label\nnewer,pos\n")
    bench.ask("old", drop)
    assert bench.run("old") == 0
    assert bench.manifest("old")["rows"]["accepted"] == 100


class BrokenStore(S3Store):
    """Breaks when the plots are to be uploaded: a defect, not a fault of the data."""

    def upload(self, key: str, path: Path) -> None:
        if "plots" in key:
            raise RuntimeError("no such luck")
        super().upload(key, path)


def test_a_defect_leaves_a_trace_in_the_log_and_no_outcome(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.ask("defect", bench.drop("raw/a.csv", as_csv(reviews(60))))
    assert bench.run("defect", store=BrokenStore(BUCKET, bench.s3)) == 1
    assert not bench.store.exists("logs/defect/1/outcome.json")
    assert not bench.store.exists("models/defect/manifest.json")
    assert "RuntimeError: no such luck" in bench.store.get("logs/defect/1/train.log").decode()
    shown = capsys.readouterr().out
    assert "Unexpected RuntimeError" in shown
    assert "Traceback" not in shown


TWENTY = [(f"{text} kind{number % 20}", f"{number % 20}") for number, (text, _) in enumerate(reviews(800))]
JAPANESE = [
    (f"これは{'良い' if label == 'pos' else '悪い'}映画です{number}", "好" if label == "pos" else "差")
    for number, (_, label) in enumerate(reviews(200))
]
HINDI = [
    (f"{'मज़ेदार' if label == 'pos' else 'उबाऊ'} फ़िल्म है {number}", label) for number, (_, label) in enumerate(reviews(20))
]


@pytest.mark.parametrize("rows", [TWENTY, JAPANESE, HINDI], ids=["20 classes", "Japanese", "20 rows of Hindi"])
def test_any_number_of_classes_and_any_script_is_trained(bench: Bench, rows: list[tuple[str, str]]) -> None:
    bench.ask("any", bench.drop("raw/a.csv", as_csv(rows, "review,Sentiment")))
    assert bench.run("any") == 0, bench.outcome("any")
    manifest = bench.manifest("any")
    assert manifest["labels"] == sorted({label for _, label in rows})
    assert manifest["metrics"]["accuracy"] > 0.9
