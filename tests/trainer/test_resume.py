"""However a run is cut into attempts, it ends in the same weights, bit for bit, as one that was never interrupted."""

from __future__ import annotations

import multiprocessing
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.trainer.mortal import (
    MINILM,
    Case,
    Dead,
    DoomedWatch,
    Killed,
    MortalStore,
    attempt_in_a_process_of_its_own,
    digest,
    tiny_encoder,
)
from trainer.errors import Interrupted

pytestmark = pytest.mark.resume

# A checkpoint after every step, so that every step is a boundary.
KNOBS: dict[str, dict[str, Any]] = {
    "linear": {"threads": 1, "steps_per_pass": 2, "l2": [1, 0.1, 0.03], "save_every_s": 0},
    "transformer": {"threads": 1, "max_tokens": 16, "epochs": 2, "batch_rows": 8, "steps": 1, "save_every_s": 0},
}


class Uninterrupted:
    """One recipe, and what it ends in when nothing happens to it."""

    def __init__(self, recipe: str, root: Path, **knobs: Any) -> None:
        self.case = Case(root, recipe, KNOBS[recipe] | knobs)
        store = MortalStore(root / "whole")
        fit, resumed = self.case.attempt(store, DoomedWatch(store, 10**9, "notice"), root / "prepared")
        assert resumed == []
        self.steps, self.digest = fit.step, digest(fit.state_dict())
        (root / "model").mkdir()
        self.sha256 = self.case.sha256(fit, root / "model")


@pytest.fixture(scope="module", params=sorted(KNOBS))
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    root = tmp_path_factory.mktemp(request.param)
    knobs = {"encoder": str(tiny_encoder(root / "encoder"))} if request.param == "transformer" else {}
    return Uninterrupted(request.param, root, **knobs)


class Bucket:
    """Attempts at one run, one after the other, against one bucket."""

    def __init__(self, case: Case, root: Path) -> None:
        self.case, self.root, self.attempts = case, root, 0

    def attempt(self, steps: int = 10**9, how: Literal["notice", "killed"] = "notice", puts: int = 10**9) -> Any:
        """The finished fit, or None when the machine died first."""
        self.attempts += 1
        folder = self.root / f"machine-{self.attempts}"
        folder.mkdir(parents=True)
        store = MortalStore(self.root / "bucket", puts)
        try:
            fit, self.resumed = self.case.attempt(store, DoomedWatch(store, steps, how), folder)
        except (Interrupted, Killed, Dead):
            return None
        return fit

    def model(self, fit: Any) -> str:
        (self.root / "model").mkdir()
        return self.case.sha256(fit, self.root / "model")


@pytest.fixture
def bucket(whole: Uninterrupted, tmp_path: Path) -> Bucket:
    return Bucket(whole.case, tmp_path)


@pytest.mark.parametrize("how", ["notice", "killed"])
def test_interrupted_at_any_step_it_ends_in_the_same_weights(
    whole: Uninterrupted, tmp_path: Path, how: Literal["notice", "killed"]
) -> None:
    twenty = [random.Random(number).randrange(whole.steps) for number in range(20)]
    for step in sorted({*twenty, *range(min(whole.steps, 30))}):
        bucket = Bucket(whole.case, tmp_path / f"{step}")
        assert bucket.attempt(step, how) is None
        fit = bucket.attempt()
        assert digest(fit.state_dict()) == whole.digest, f"{how} at step {step}, went on from {bucket.resumed}"
        assert how == "killed" or bucket.resumed == [step]
        shutil.rmtree(bucket.root)


def test_killed_at_any_moment_of_a_checkpoint_it_ends_in_the_same_weights(whole: Uninterrupted, tmp_path: Path) -> None:
    for puts in range(1, 13):
        bucket = Bucket(whole.case, tmp_path / f"{puts}")
        fit = bucket.attempt(puts=puts) or bucket.attempt()  # a fast fit makes fewer checkpoints, and may live
        assert digest(fit.state_dict()) == whole.digest, f"dead after {puts} objects"


@pytest.mark.parametrize("seed", range(3))
def test_interrupted_many_times_in_one_run_it_ends_in_the_same_model(
    whole: Uninterrupted, bucket: Bucket, seed: int
) -> None:
    pick = random.Random(seed)
    fit = None
    while fit is None:
        how: Literal["notice", "killed"] = "notice" if pick.random() < 0.7 else "killed"
        fit = bucket.attempt(pick.randrange(1, 1 + max(2, whole.steps // 5)), how)
        assert bucket.attempts < 60
    assert bucket.attempts > 3
    assert bucket.model(fit) == whole.sha256


@pytest.fixture(scope="module")
def processes() -> Iterator[Any]:
    """Real processes that are cheap: torch is loaded once, and each is forked from there."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.trainer.mortal", "trainer.recipe_linear", "trainer.recipe_transformer"])
    yield context


def test_a_real_sigkill_at_any_step_ends_in_the_same_model(
    whole: Uninterrupted, processes: Any, tmp_path: Path
) -> None:
    pick = random.Random(7)
    for step in sorted(pick.sample(range(1, whole.steps), min(whole.steps - 1, 4))):
        root = tmp_path / f"{step}"
        child = processes.Process(
            target=attempt_in_a_process_of_its_own, args=(root, whole.case.recipe, whole.case.knobs, step)
        )
        root.mkdir()
        child.start()
        child.join(60)
        assert child.exitcode == -9
        store = MortalStore(root)
        assert store.keys("checkpoints/mortal/"), "nothing was saved before the kill"
        fit, resumed = whole.case.attempt(store, DoomedWatch(store, 10**9, "notice"), root)
        assert resumed and resumed[0] <= step
        assert digest(fit.state_dict()) == whole.digest


def test_a_real_encoder_ends_in_the_same_model_too(tmp_path: Path) -> None:
    knobs = {"encoder": str(MINILM), "epochs": 1, "batch_rows": 16, "frozen_layers": 4, "save_every_s": 60}
    (tmp_path / "whole").mkdir()
    whole = Uninterrupted("transformer", tmp_path / "whole", **knobs)
    bucket = Bucket(whole.case, tmp_path / "cut")
    assert bucket.attempt(1) is None
    assert bucket.attempt(1, "killed") is None
    fit = bucket.attempt()
    assert bucket.resumed and bucket.model(fit) == whole.sha256
