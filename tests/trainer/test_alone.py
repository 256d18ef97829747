"""Training without AWS: a CSV in, a folder out that can be served."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.trainer.bench import as_csv, check, reviews
from trainer import alone

FAST = '{"threads": 1, "steps_per_pass": 2, "l2": [1, 0.1]}'


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "reviews (1) + ñ.csv"
    path.write_bytes(as_csv(reviews(300)))
    return path


def manifest(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "manifest.json").read_bytes())
    check("manifest", found)
    for name, listed in found["files"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == listed["sha256"]
    return found


def test_a_csv_becomes_a_model_folder_and_other_knobs_replace_it(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "build" / "model"
    assert alone.main([str(csv), str(out), "--knobs", FAST]) == 0
    first = manifest(out)
    shown = capsys.readouterr().out
    assert f"accuracy     {first['metrics']['accuracy']:.4f} on the test rows" in shown
    assert f"make serve MODEL={out} PORT=8080" in shown
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["logs", "processed"]
    assert (out / "logs" / "1" / "plots" / "loss.png").is_file()
    assert alone.main([str(csv), str(out), "--knobs", FAST]) == 0
    assert "nothing to do" in capsys.readouterr().out and manifest(out) == first
    assert alone.main([str(csv), str(out), "--knobs", FAST, "--seed", "18"]) == 0
    assert manifest(out)["run_id"] != first["run_id"]


def test_a_given_test_set_stays_whole_and_nothing_of_it_is_trained_on(csv: Path, tmp_path: Path) -> None:
    rows = reviews(300)
    held_out = [*reviews(60, seed=5), *rows[:10], *rows[:10]]
    packed, test = tmp_path / "train.csv.gz", tmp_path / "test.csv"
    packed.write_bytes(gzip.compress(csv.read_bytes()))
    test.write_bytes(as_csv(held_out))
    out = tmp_path / "model"
    assert alone.main([str(packed), str(out), "--test", str(test), "--knobs", FAST]) == 0
    counts = manifest(out)["rows"]
    assert counts["test"] == 80 and counts["train"] + counts["validation"] == 290
    kept = [pq.read_table(out / "processed" / f"{part}.parquet")["text"].to_pylist() for part in ("train", "test")]
    assert kept[1] == [text for text, _ in held_out] and not set(kept[0]) & set(kept[1])
    assert "as it was given" in (out / "model-card.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{csv}", "{out}", "--knobs", "passes=3"], "The knobs are not JSON"),
        (["{csv}", "{out}", "--knobs", '{"epochs": 3}'], "Unknown knob 'epochs'"),
        (["{csv}x", "{out}"], "There is no file"),
        (["{csv}", "{csv}"], "is not a folder"),
        (["{csv}", "{out}", "--text", "body"], ""),
    ],
)
def test_what_cannot_be_trained_is_a_sentence_and_exit_code_3(
    csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    given = [each.replace("{csv}", str(csv)).replace("{out}", str(tmp_path / "out")) for each in arguments]
    assert alone.main(given) == 3
    told = capsys.readouterr()
    assert sentence in told.err
    assert "Traceback" not in told.out + told.err


def test_a_file_that_is_not_whole_gzip_is_told(csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = tmp_path / "torn.csv.gz"
    packed.write_bytes(gzip.compress(csv.read_bytes())[:-200])
    assert alone.main([str(packed), str(tmp_path / "out")]) == 3
    assert "is not a whole gzip file" in capsys.readouterr().out


@pytest.mark.resume
def test_ctrl_c_saves_and_the_same_call_goes_on_to_the_same_model(csv: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    knobs = '{"threads": 1, "steps_per_pass": 1, "passes": 400, "tolerance": 0, "l2": [1, 0.1]}'
    assert alone.main([str(csv), str(whole), "--knobs", knobs]) == 0
    call = [sys.executable, "-m", "trainer.alone", str(csv), str(cut), "--knobs", knobs]
    root = Path(__file__).parents[2]
    with subprocess.Popen(call, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "features:" in line:
                os.kill(process.pid, signal.SIGINT)
                break
        told = process.stdout.read()
    assert process.returncode == 4, told
    assert "Ctrl-C; saved step" in told and "The same call goes on" in told
    assert alone.main([str(csv), str(cut), "--knobs", knobs]) == 0
    assert manifest(cut)["resumed"] is not None
    assert manifest(cut)["files"]["model.pt"] == manifest(whole)["files"]["model.pt"]
