"""The example of a trainer that is not ours: what it leaves in a bucket passes the gate and is served."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest
from controlplane.domain.gate import Policy, decide
from controlplane.domain.models import Model
from inference.explain import explain
from inference.model import setup
from inference.source import open_source
from moto.server import ThreadedMotoServer

from tests.trainer.bench import BUCKET, Bench, as_csv, check, reviews
from trainer.model_files import fetch

EXAMPLE = Path(__file__).parents[2] / "examples" / "sklearn_trainer"
POLICY = Policy(min_gain=0.002, max_p=0.05, max_class_loss=0.05, max_calibration_loss=0.02)
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """A bucket that a process of its own can reach."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port())}.items():
            patch.setenv(name, value)
        yield Bench()
    boto3.DEFAULT_SESSION = None
    server.stop()


def run_example(run: str, endpoint: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **KEYS,
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "AWS_ENDPOINT_URL": endpoint,
        "TIDEGATE_BUCKET": BUCKET,
        "TIDEGATE_RUN": run,
        "TIDEGATE_ATTEMPT": "1",
    }
    command = [sys.executable, "train.py"]
    return subprocess.run(
        command, cwd=EXAMPLE, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def endpoint_of(bench: Bench) -> str:
    return bench.s3.meta.endpoint_url


@pytest.fixture(scope="module")
def own(bench: Bench) -> subprocess.CompletedProcess[str]:
    """It trained run `own`."""
    drop = bench.drop("raw/a (1).csv", as_csv([*reviews(1200), ("", "pos"), ("no label", "")], "Review,Sentiment"))
    bench.ask("own", drop, recipe="sklearn")
    return run_example("own", endpoint_of(bench))


def test_its_model_obeys_the_contracts_passes_the_gate_and_is_served(
    bench: Bench, own: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    assert own.returncode == 0, own.stderr
    assert bench.outcome("own")["outcome"] == "trained"
    manifest = bench.manifest("own")
    assert (manifest["rows"]["accepted"], manifest["rows"]["rejected"]) == (1200, 2)
    told = json.loads((EXAMPLE.parents[1] / "events" / "contracts" / "model_files.json").read_text())
    for name in ("features", "labels", "golden"):
        jsonschema.validate(bench.json(f"models/own/{name}.json"), {**told["$defs"][name], "$defs": told["$defs"]})
    assert decide(Model.from_manifest(manifest), None, POLICY).promote
    served = setup(open_source(f"s3://{BUCKET}/models/own/"), "own")
    said = explain(served, "The film was awful, a mess, and the story boring")
    assert said["label"] == "neg"
    assert {"awful", "mess", "boring"} & {one["word"] for one in said["words"] if one["push"] > 0}
    theirs = [float(each.max()) for each in fetch(bench.store, "own", tmp_path / "own").answer(["a warm film", ""])]
    assert theirs == pytest.approx([one["probability"] for one in served.answer(["a warm film", ""])], abs=1e-5)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("champion", ["linear", "own"])
def test_it_is_compared_with_a_champion_of_ours_and_of_its_own(bench: Bench, champion: str) -> None:
    objects = bench.json("runs/own/spec.json")["snapshot"]["objects"]
    if champion == "linear":
        bench.ask("linear", *objects)
        assert bench.run("linear") == 0
    bench.ask(f"beside-{champion}", *objects, recipe="sklearn", champion=champion)
    ended = run_example(f"beside-{champion}", endpoint_of(bench))
    assert ended.returncode == 0, ended.stderr
    manifest = bench.manifest(f"beside-{champion}")
    theirs: dict[str, Any] = bench.manifest(champion)["metrics"]
    assert manifest["comparison"]["metrics"]["rows"] == theirs["rows"]
    for name in ("accuracy", "macro_f1", "log_loss", "calibration_error"):
        assert manifest["comparison"]["metrics"][name] == pytest.approx(theirs[name], abs=1e-4)
    assert "Not better" in decide(Model.from_manifest(manifest), champion, POLICY).sentence


def test_what_cannot_be_trained_on_is_said_and_not_tried_again(bench: Bench) -> None:
    bench.ask("hopeless", bench.drop("raw/b.csv", as_csv([("a", "x"), ("b", "x")])), recipe="sklearn")
    assert run_example("hopeless", endpoint_of(bench)).returncode == 3
    check("outcome", bench.json("logs/hopeless/1/outcome.json"))
    assert bench.outcome("hopeless")["outcome"] == "failed"
