"""Checkpoints: complete or absent, passed over when they are not this fit's, made beside the training, how often."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from tests.trainer.bench import ticking
from trainer.checkpoint import Cadence, Checkpoints, interval, newest_step
from trainer.folder_store import FolderStore
from trainer.journal import Journal


class SlowStore(FolderStore):
    """A bucket that takes its time, until it is let go on."""

    def __init__(self, root: Path) -> None:
        super().__init__({"": root})
        self.go_on = threading.Event()
        self.go_on.set()
        self.away = False

    def put(self, key: str, body: bytes, content_type: str = "") -> None:
        self._pass()
        super().put(key, body, content_type)

    def upload(self, key: str, path: Path) -> None:
        self._pass()
        super().upload(key, path)

    def _pass(self) -> None:
        self.go_on.wait(10)
        if self.away:
            raise OSError("the bucket is away")


class Place:
    """A bucket, and what was said."""

    def __init__(self, root: Path) -> None:
        self.store = SlowStore(root / "bucket")
        self.journal = Journal(self.store, "run", 1, root, ticking(), lambda: datetime.now(UTC))
        self.log = root / "train.log"

    def checkpoints(self, identity: str = "the same") -> Checkpoints:
        cadence = Cadence(3600, 60, self.journal.say)
        return Checkpoints(self.store, self.journal, "run", identity, {"knobs": {}}, cadence)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.store.go_on.set()
    place.journal.close()


def state(number: float) -> dict[str, torch.Tensor]:
    return {"weights": torch.full((4,), number)}


def test_the_newest_complete_one_is_taken_up(place: Place) -> None:
    checkpoints = place.checkpoints()
    for step in (3, 7):
        checkpoints.save(step, 0.5, state(step))
    place.store.put("checkpoints/run/000000009/state.pt", b"half")
    saved = place.checkpoints().latest()
    assert saved is not None and saved.step == 7
    assert torch.equal(saved.state["weights"], state(7)["weights"])
    ready = place.store.get_json("checkpoints/run/000000007/READY.json")
    assert (ready["step"], ready["best"], ready["knobs"]) == (7, 0.5, {})


def test_the_last_two_are_kept_and_half_written_older_ones_go(place: Place) -> None:
    place.store.put("checkpoints/run/000000001/state.pt", b"half")
    checkpoints = place.checkpoints()
    for step in (2, 4, 6):
        checkpoints.save(step, None, state(step))
    kept = [f"checkpoints/run/{step:09d}/{name}" for step in (4, 6) for name in ("READY.json", "state.pt")]
    assert place.store.keys("checkpoints/") == kept
    assert newest_step(place.store, "run") == 6 and newest_step(place.store, "other") is None


def test_damaged_and_foreign_ones_are_passed_over_with_a_line_and_do_not_push_out_ours(place: Place) -> None:
    place.checkpoints().save(5, None, state(5))
    another = place.checkpoints("another")
    assert another.latest() is None
    for step in (80, 90):
        another.save(step, None, state(step))
    place.store.put("checkpoints/run/000000070/state.pt", b"damaged")
    place.store.put_json("checkpoints/run/000000070/READY.json", {"step": 70, "identity": "the same", "sha256": "0"})
    place.store.put("checkpoints/run/000000060/READY.json", b"not json")
    checkpoints = place.checkpoints()
    saved = checkpoints.latest()
    assert saved is not None and saved.step == 5
    said = place.said()
    assert "checkpoints/run/000000090/ is passed over: it is of other rows, knobs, code or another torch" in said
    assert "checkpoints/run/000000070/ is passed over: its state is not the one that was written" in said
    assert "checkpoints/run/000000060/ is passed over: it is incomplete or not readable" in said
    for step in (6, 7, 8):
        checkpoints.save(step, None, state(step))
    again = place.checkpoints().latest()
    assert again is not None and again.step == 8


def test_training_goes_on_while_one_is_on_its_way_and_may_change_its_tensors(place: Place) -> None:
    checkpoints = place.checkpoints()
    living = state(1)
    place.store.go_on.clear()
    checkpoints.begin(1, None, living)
    assert checkpoints.busy and place.journal.saved_step is None
    living["weights"] += 1
    place.store.go_on.set()
    checkpoints.save(2, None, living)
    assert not checkpoints.busy and place.journal.saved_step == 2
    assert torch.equal(torch.load(place.store._path("checkpoints/run/000000001/state.pt"))["weights"], torch.ones(4))


def test_a_bucket_that_is_away_does_not_end_the_training(place: Place) -> None:
    checkpoints = place.checkpoints()
    place.store.away = True
    checkpoints.begin(1, None, state(1))
    while checkpoints.busy:
        threading.Event().wait(0.01)
    assert "the checkpoint of step 1 could not be saved" in place.said()
    assert place.journal.saved_step is None
    with pytest.raises(OSError, match="the bucket is away"):
        checkpoints.save(2, None, state(2))


def test_nor_does_one_that_takes_no_progress(place: Place) -> None:
    place.store.away = True
    place.journal.phase("training", "steps")
    for step in range(100):
        place.journal.step(step)
    assert "the progress could not be told (the bucket is away)" in place.said()


def test_the_interval_is_youngs_within_its_bounds() -> None:
    assert interval(0.05, 5 * 3600, 60) == pytest.approx(42.43, abs=0.01)
    assert interval(1.0, 5 * 3600, 60) == 60
    assert interval(1e-6, 5 * 3600, 60) == 5
    assert interval(1.0, 5 * 3600, 0) == 0


def test_the_interval_is_told_with_its_reason_and_again_only_when_it_changes_a_lot() -> None:
    said: list[str] = []
    cadence = Cadence(5 * 3600, 600, said.append)
    for cost in (0.05, 0.06, 0.08, 0.5):
        cadence.learn(cost)
    assert said == [
        "checkpoint every 42 s: a save costs 0.050 s; Young's rule for an interruption every 5 h says 42 s",
        "checkpoint every 134 s: a save costs 0.500 s; Young's rule for an interruption every 5 h says 134 s",
    ]
    assert cadence.every_s == pytest.approx(134.2, abs=0.1)
    Cadence(5 * 3600, 60, said.append).learn(2.0)
    assert said[-1].endswith("says 268 s, save_every_s allows no longer")
