"""The run card: honest figures, relative links, and nothing that somebody wrote is obeyed by the browser."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from controlplane.domain.card_page import page
from controlplane.domain.cards import card, links_of
from controlplane.domain.estimates import Estimate
from controlplane.domain.money import Stint
from controlplane.domain.runs import Run, RunState

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FIRST = Stint(
    attempt=1,
    machine="i-1",
    machine_type="c6i.large",
    zone="eu-west-1a",
    lifecycle="spot",
    price=0.03,
    launched_at=NOON,
    ended_at=NOON + timedelta(minutes=20),
    on_demand=0.09,
    why_ended="Spot notice; saved step 14.",
    gone=True,
)
SECOND = replace(
    FIRST,
    attempt=2,
    machine="i-2",
    machine_type="m5.large",
    lifecycle="on-demand",
    price=0.12,
    launched_at=NOON + timedelta(minutes=21),
    ended_at=None,
    on_demand=0.12,
)
RUN = Run(
    "films-3f2a9c1b7e44",
    "films",
    "sha256:0",
    NOON - timedelta(minutes=2),
    RunState.PROMOTED,
    stints=(FIRST, SECOND),
    reason="Better by 2.1 points: right on 84.0 % of 1000 test rows.",
    ended_at=NOON + timedelta(minutes=40),
    estimate=Estimate(25_000, 24.5, 0.0163, "about 25,000 rows by the mean length of the first ones; 90 s to boot"),
)
METRICS = {
    "rows": 1000,
    "accuracy": 0.84,
    "majority_share": 0.5,
    "macro_f1": 0.83,
    "log_loss": 0.41,
    "calibration_error": 0.021,
    "per_class_recall": {"negative": 0.85, "<b>positive": 0.83, "never seen": None},
}
MANIFEST: dict[str, Any] = {
    "metrics": METRICS,
    "comparison": {
        "champion": "films-0a1b2c3d4e5f",
        "metrics": {**METRICS, "accuracy": 0.8},
        "both_right": 740,
        "only_challenger_right": 60,
        "only_champion_right": 20,
        "both_wrong": 180,
    },
    "rows": {"accepted": 25000, "rejected": 6, "duplicates": 12, "train": 20000, "validation": 2500, "test": 2488},
    "recipe": "linear",
    "seed": 17,
    "data_shift": {"sentence": "The class shares moved by 0.03 since films-0a1b2c3d4e5f; the lengths by 0.01."},
}
KEYS = [
    "logs/films-3f2a9c1b7e44/1/boot.log",
    "logs/films-3f2a9c1b7e44/1/plots/loss.png",
    "logs/films-3f2a9c1b7e44/2/plots/confusion_matrix.png",
    "logs/films-3f2a9c1b7e44/2/plots/loss.png",
    "logs/films-3f2a9c1b7e44/2/train.log",
    "models/films-3f2a9c1b7e44/model-card.md",
    "models/films-3f2a9c1b7e44/model.onnx",
    "processed/films-3f2a9c1b7e44/rejected.html",
    "runs/films-3f2a9c1b7e44/spec.json",
]
NOW = NOON + timedelta(minutes=41)


def made(run: Run = RUN, manifest: dict[str, Any] | None = MANIFEST) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(json.dumps(card(run, manifest, links_of(run.run_id, KEYS), NOW)))
    return told


def test_it_adds_up_minutes_and_dollars_of_all_machines_that_ran_till_now() -> None:
    told = made()
    assert told["minutes"] == 40.0
    assert told["dollars"] == round(0.03 / 3 + 0.12 / 3, 6)
    assert told["on_demand_dollars"] == round(0.09 / 3 + 0.12 / 3, 6)
    assert told["saved_dollars"] == 0.02
    assert [one["ended"] for one in told["attempts"]] == [
        "Spot notice; saved step 14.",
        "still up when this was written",
    ]


def test_a_price_that_was_not_told_leaves_the_sum_open() -> None:
    told = made(replace(RUN, stints=(FIRST, replace(SECOND, price=None, on_demand=None))))
    assert (told["dollars"], told["on_demand_dollars"], told["saved_dollars"]) == (None, None, None)
    assert "not told" in page(told, MANIFEST)


def test_it_links_what_is_there_and_the_plots_of_the_newest_attempt() -> None:
    links = made()["links"]
    assert links["plot: confusion matrix"] == "logs/films-3f2a9c1b7e44/2/plots/confusion_matrix.png"
    assert links["plot: loss"] == "logs/films-3f2a9c1b7e44/2/plots/loss.png"
    assert links["attempt 1: boot.log"] == "logs/films-3f2a9c1b7e44/1/boot.log"
    assert links["rejected rows"] == "processed/films-3f2a9c1b7e44/rejected.html"
    assert "profile of the data" not in links


def test_odd_names_are_links_too() -> None:
    links = links_of("r", ["logs/r/1/plots/größe & 100%.png"])
    assert '"../../logs/r/1/plots/gr%C3%B6%C3%9Fe%20%26%20100%25.png"' in page({**made(), "links": links}, None)


def test_the_tenth_attempt_is_newer_than_the_ninth() -> None:
    links = links_of("r", ["logs/r/9/plots/loss.png", "logs/r/10/plots/loss.png"])
    assert links["plot: loss"] == "logs/r/10/plots/loss.png"


def test_its_links_work_in_a_copy_of_the_bucket() -> None:
    """The page is runs/<run id>/card.html; nothing in it points to the network."""
    html = page(made(), MANIFEST)
    places = re.findall(r'(?:href|src)="([^"]*)"', html)
    assert places
    assert all(place.startswith("../../") for place in places)
    assert "http" not in html


def test_it_shows_estimate_and_truth_the_comparison_and_how_the_data_moved() -> None:
    html = page(made(), MANIFEST)
    assert "24.5" in html and "90 s to boot" in html
    assert "champion films-0a1b2c3d4e5f" in html and "only this model on 60" in html
    assert "The class shares moved by 0.03" in html


def test_what_people_wrote_is_shown_and_not_obeyed() -> None:
    evil = "<script>alert(1)</script>\"'&"
    run = replace(RUN, reason=evil, dataset=evil, stints=(replace(FIRST, why_ended=evil),))
    html = page(made(run), MANIFEST)
    assert "<script" not in html and "<b>positive" not in html
    assert html.count("&lt;script&gt;") >= 3


def test_a_run_that_never_got_a_machine_has_a_card_too() -> None:
    told = made(replace(RUN, state=RunState.FAILED, stints=(), estimate=None), None)
    assert (told["minutes"], told["dollars"], told["metrics"], told["estimate"]) == (0, 0, None, None)
    html = page(told, None)
    assert "None was started." in html and "The model" not in html


def test_a_manifest_that_only_says_what_the_gate_needs_has_a_card_too() -> None:
    bare = {"rows": 10, "accuracy": 0.9, "majority_share": 0.5, "calibration_error": 0.1, "per_class_recall": {}}
    manifest = {"metrics": bare, "comparison": None, "rows": {"accepted": 10, "rejected": 0}, "recipe": "theirs"}
    html = page(made(manifest=manifest), manifest)
    assert "macro F1" in html and "not told" in html and "10 accepted" in html
