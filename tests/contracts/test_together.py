"""The trainer's real output goes through the other two: the control plane's rules and the service's loader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from controlplane.domain.gate import Policy, decide
from controlplane.domain.models import Model
from inference.model import setup
from inference.source import open_source

from tests.trainer.bench import BUCKET, Bench, as_csv, in_memory, reviews
from trainer.model_files import fetch
from trainer.store import S3Store

CONTRACTS = Path(__file__).resolve().parents[2] / "events" / "contracts"
POLICY = Policy(min_gain=0.002, max_p=0.05, max_class_loss=0.05, max_calibration_loss=0.02)
URI = f"s3://{BUCKET}/models/first/"
TEXTS = ["a warm, moving film", "dull and <br /> clumsy", "", "ÜBER don't " * 50, "nothing known zzzz"]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with in_memory() as made:
        made.ask("first", made.drop("raw/a.csv", as_csv(reviews(400))))
        assert made.run("first") == 0
        yield made


def test_the_gate_understands_the_trainers_manifest(bench: Bench) -> None:
    manifest = bench.manifest("first")
    jsonschema.validate(manifest, json.loads((CONTRACTS / "manifest.json").read_text()))
    model = Model.from_manifest(manifest)
    assert model.run_id == "first" and decide(model, None, POLICY).promote


def test_the_service_loads_the_trainers_model_and_answers_its_golden_rows(bench: Bench) -> None:
    golden = bench.json("models/first/golden.json")
    answers = setup(open_source(URI), "first").answer([row["text"] for row in golden])
    assert [answer["label"] for answer in answers] == [row["label"] for row in golden]


@pytest.mark.usefixtures("bench")
def test_the_service_reads_any_text_as_the_trainer_does(tmp_path: Path) -> None:
    theirs = fetch(S3Store(BUCKET), "first", tmp_path / "first").answer(TEXTS)
    ours = setup(open_source(URI), "first").answer(TEXTS)
    for one, other in zip(ours, theirs, strict=True):
        assert list(one["scores"].values()) == pytest.approx([float(p) for p in other], abs=1e-4)
