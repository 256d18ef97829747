"""What trainer, control plane and serving agree on: valid schemas, true examples, and what we write obeys them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from controlplane.adapters.s3_bucket import S3Bucket
from controlplane.domain.caps import Caps
from controlplane.domain.drops import Columns, Drop, inspect
from controlplane.domain.models import Model
from jsonschema import Draft202012Validator
from moto import mock_aws

from tests.architecture.cloudformation import ROOT
from tests.flows.fakes import NOON
from tests.flows.world import World

CONTRACTS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "events" / "contracts").glob("*.json")}


def obeys(name: str, document: Any) -> None:
    validator = Draft202012Validator(CONTRACTS[name], format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert [fault.message for fault in validator.iter_errors(document)] == []


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_a_contract_is_a_valid_schema(name: str) -> None:
    Draft202012Validator.check_schema(CONTRACTS[name])


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_its_examples_are_true(name: str) -> None:
    for example in CONTRACTS[name].get("examples", []):
        obeys(name, example)


def test_the_examples_of_parts_are_true() -> None:
    told = CONTRACTS["model_files"]
    for example in told["examples"]:
        for part, value in example.items():
            validator = Draft202012Validator({**told["$defs"][part], "$defs": told["$defs"]})
            assert list(validator.iter_errors(value)) == []


def test_the_manifests_example_becomes_a_model() -> None:
    [example] = CONTRACTS["manifest"]["examples"]
    model = Model.from_manifest(example)
    assert model.run_id == example["run_id"]
    assert model.comparison and model.comparison.rows == example["metrics"]["rows"]


@pytest.mark.parametrize("key", ["raw/a.csv", "raw/Größe & Co/a b+%20.csv", "raw//x.csv"])
def test_the_spec_that_is_written_obeys_its_contract(key: str) -> None:
    world = World()
    world.drop(key)
    world.wait(seconds=61)
    obeys("run_spec", world.bucket.specs[world.run.run_id])


def test_the_spec_of_data_that_failed_before_obeys_it_too() -> None:
    world = World()
    for _ in range(3):
        world.drop(f"raw/{'x' * 60}/a.csv")
        world.wait(seconds=61)
        run = list(world.ledger.runs.values())[-1]
        world.trainer_says(run, "failed", "No.")
        world.machine_ends(run)
    assert len(world.bucket.specs) == 3
    for spec in world.bucket.specs.values():
        obeys("run_spec", spec)


@pytest.mark.parametrize("prices", [True, False])
def test_the_card_of_a_run_obeys_its_contract_however_it_ended(*, prices: bool) -> None:
    world = World()
    if not prices:
        world.prices.spots.clear()
    world.promoted("raw/a/a.csv")
    failed = world.dropped_run("raw/b/a.csv")
    world.machine_ends(failed)
    failed = world.ledger.runs[failed.run_id]
    world.trainer_says(failed, "failed", "No.")
    world.machine_ends(failed)
    world.caps = Caps(0.0000001, 4, 0)
    world.drop("raw/c/a.csv")
    world.wait(seconds=61)
    assert len(world.bucket.cards) == (3 if prices else 2), "without a price nothing is too dear"
    for card, _ in world.bucket.cards.values():
        obeys("run_card", card)
    for spec in world.bucket.specs.values():
        obeys("run_spec", spec)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="data")
        yield s3


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("raw/empty.csv", b""),
        ("raw/a\n<b>.csv", b"text,label\n"),
        ("raw/latin.csv", b"text,label\n\xe9,a\n"),
        ("raw/long.csv", b"a" * 5000 + b"\n"),
        ("raw/notes.txt", b"x"),
        ("raw/one.csv", b"text,label\na,x\nb,x\n"),
    ],
)
def test_the_report_that_is_written_obeys_its_contract(bucket: Any, key: str, content: bytes) -> None:
    drop = Drop(key, "etag", len(content))
    finding = inspect(drop, content, Columns())
    assert finding
    S3Bucket(bucket, "data").quarantine(drop, finding, NOON)
    report = bucket.get_object(Bucket="data", Key=f"quarantine/{drop.drop_id}/report.json")["Body"].read()
    obeys("quarantine_report", json.loads(report))
