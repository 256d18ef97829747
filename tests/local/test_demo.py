"""The demo: its one interruption, its promises, and what it says when something fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from local import demo, reviews
from local.cloud import Cloud, CloudFault
from local.demo_steps import Demo
from local.interruption import Interruption
from local.processes import free_port
from local.witness import NotSeen, Teller, Witness
from tests.local.test_witness import Clock


class Interrupts(Cloud):
    """Notes whom it was asked to interrupt."""

    asked: list[str | None]

    def interrupt(self, wanted: str | None = None, *, rebalance: bool = False) -> str:
        assert not rebalance
        self.asked = [*getattr(self, "asked", []), wanted]
        return "i-first"


class Sees(Witness):
    """Has these documents in its bucket."""

    documents: dict[str, Any]

    def document(self, key: str) -> dict[str, Any]:
        return dict(self.documents[key])


def progress(attempt: int, phase: str, unit: str, done: int) -> dict[str, Any]:
    return {"attempt": attempt, "phase": phase, "unit": unit, "done": done}


def test_the_demo_interrupts_a_run_once_at_a_step_of_its_fit_and_says_what_was_lost(tmp_path: Path) -> None:
    clock, cloud = Clock(), Interrupts(state=tmp_path, port=free_port())
    say = Teller(clock, colour=False)
    see = Sees(cloud, say)
    see.documents = {"logs/r/1/outcome.json": {"reason": "Spot notice; saved step 9.", "step": 9}}
    spot, run = Interruption(cloud, see, say), {"run_id": "r", "attempt": 1}
    for told in (
        {}, progress(1, "reading", "rows", 5), progress(1, "training", "rows", 5), progress(1, "training", "steps", 0),
    ):  # fmt: skip
        spot.look(run, told)
    assert not spot.machine
    for done in (4, 8):
        spot.look(run, progress(1, "training", "steps", done))
    assert cloud.asked == ["r"]
    clock.sleep(7)
    spot.look(run, progress(2, "training", "steps", 9))
    came = spot.came_of_it({**run, "attempt": 2}, {"resumed": 9, "attempt": 2})
    assert (came["noticed_at_step"], came["steps_lost"], came["seconds_until_it_went_on"]) == (4, 0, 7.0)


def test_a_demo_whose_run_was_not_interrupted_says_so(tmp_path: Path) -> None:
    cloud, say = Interrupts(state=tmp_path, port=free_port()), Teller(Clock(), colour=False)
    with pytest.raises(NotSeen, match="was to be interrupted"):
        Interruption(cloud, Sees(cloud, say), say).came_of_it({"run_id": "r", "attempt": 1}, {})


class Fails(Demo):
    """A demo whose cloud never comes up."""

    fault: BaseException = CloudFault("Port 1 is in use by something else.")

    def run(self) -> None:
        with self.say.step("The local cloud"):
            raise self.fault


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (CloudFault("Port 1 is in use."), "Port 1 is in use."),
        (NotSeen("A run ends: not within 5 s."), "A run ends: not within 5 s."),
        (KeyboardInterrupt(), "Interrupted."),
        (ConnectionRefusedError("refused"), "The local cloud does not answer: refused"),
    ],
)
def test_a_demo_that_fails_says_so_in_one_sentence_and_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: BaseException, told: str
) -> None:
    demo.fresh(tmp_path)
    failing = Fails(Cloud(state=tmp_path / "cloud", port=free_port()), Teller(Clock(), colour=False), tmp_path)
    failing.fault = fault
    assert demo.play(failing) == 1
    assert f"The demo failed. {told}" in capsys.readouterr().err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["ok"] is False
    assert report["failure"].startswith(told)
    assert report["steps"] == [{"name": "The local cloud", "seconds": 0.0}]


class Plays(Demo):
    """A demo that came to its end with these promises."""

    kept = True

    def run(self) -> None:
        self.report["loop_seconds"] = 1.0
        self.promise("nothing failed", self.kept)


@pytest.mark.parametrize(("kept", "code"), [(True, 0), (False, 1)])
def test_it_ends_0_only_if_every_promise_came_true(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: bool, code: int
) -> None:
    demo.fresh(tmp_path)
    playing = Plays(Cloud(state=tmp_path / "cloud", port=free_port()), Teller(Clock(), colour=False), tmp_path)
    playing.kept = kept
    assert demo.play(playing) == code
    assert f"{'yes' if kept else 'NO '}  nothing failed" in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text())["ok"] is kept


def test_nothing_of_an_earlier_demo_is_left_to_be_taken_for_this_ones(tmp_path: Path) -> None:
    for folder in ("alerts", "bucket"):
        (tmp_path / folder).mkdir()
    for name in ("report.json", "alerts/9.txt", "bucket/card.html", reviews.ARCHIVE):
        (tmp_path / name).write_text("old")
    demo.fresh(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {reviews.ARCHIVE}
