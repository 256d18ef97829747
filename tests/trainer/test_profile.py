"""How far the data has moved since the baseline: what is told, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.bench import Bench, as_csv, check, reviews
from tests.trainer.shelf import Shelf, gathered, spec
from trainer import profile

LENGTHS: dict[str, float] = {"0": 10, "0.05": 20, "0.25": 50, "0.5": 100, "0.75": 150, "0.95": 300, "1": 900}


def rows(lengths: Mapping[str, float] = LENGTHS, **shares: float) -> dict[str, Any]:
    return {"class_shares": shares, "characters": dict(lengths)}


def test_the_same_data_has_not_moved() -> None:
    told = profile.shift("first", rows(neg=0.5, pos=0.5), rows(neg=0.5, pos=0.5))
    assert (told["shift"], told["new_labels"], told["lost_labels"]) == (0, [], [])
    assert told["sentence"] == ("Compared with the data of first: much the same (class shift 0.00, length shift 0.00).")


def test_classes_that_come_go_and_grow_are_named() -> None:
    told = profile.shift("first", rows(neg=0.5, pos=0.4, odd=0.1), rows(neg=0.2, pos=0.6, meh=0.2))
    assert told["class_shift"] == pytest.approx(0.4)
    assert (told["new_labels"], told["lost_labels"]) == (["meh"], ["odd"])
    assert "new label 'meh'; no more 'odd'; 'neg' went from 50.0% to 20.0% of the rows" in told["sentence"]


def test_other_labels_altogether_are_a_shift_of_one() -> None:
    assert profile.shift("first", rows(neg=0.5, pos=0.5), rows(good=0.5, bad=0.5))["shift"] == pytest.approx(1)


def test_many_new_labels_are_counted() -> None:
    told = profile.shift("first", rows(pos=1.0), rows(LENGTHS, **{f"k{number}": 1 / 8 for number in range(8)}))
    assert "'k4' and 3 others" in told["sentence"]


def test_longer_texts_are_told_by_their_median() -> None:
    told = profile.shift("first", rows(neg=1.0), rows({share: 2 * each for share, each in LENGTHS.items()}, neg=1.0))
    assert told["length_shift"] > 0.2
    assert "the median length of a text went from 100 to 200 characters" in told["sentence"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (dict.fromkeys(LENGTHS, 10), dict.fromkeys(LENGTHS, 11)),
        (LENGTHS, {share: 1_000 + each for share, each in LENGTHS.items()}),
    ],
    ids=["all of one length", "none as short as the longest"],
)
def test_lengths_that_have_nothing_in_common_are_a_shift_of_one(one: dict[str, float], other: dict[str, float]) -> None:
    assert profile.largest_gap(one, other) == profile.largest_gap(other, one) == 1


def test_the_gap_of_the_quantiles_is_near_that_of_all_lengths() -> None:
    pick = np.random.default_rng(1)
    one, other = pick.gamma(2, 50, 20_000), pick.gamma(2, 70, 20_000)
    places = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(each), places, "right") / len(each) for each in (one, other)]
    exact = np.abs(shares[0] - shares[1]).max()
    assert profile.largest_gap(profile.quantiles(one), profile.quantiles(other)) == pytest.approx(exact, abs=0.03)


def test_nothing_to_compare_with_is_said_and_is_no_reason_to_stop(tmp_path: Path) -> None:
    shelf = Shelf({"raw/a.csv": as_csv(reviews(100))})
    dataset = gathered(shelf, tmp_path)
    broken: list[Any] = [None, [], {"class_shares": {}}, {"class_shares": {"pos": 1}, "characters": {"0.5": "long"}}]
    for left in broken:
        if left is not None:
            shelf.kept["processed/gone/profile.json"] = left
        said: list[str] = []
        assert profile.data_shift(shelf, spec(shelf.files, baseline="gone"), dataset, said.append) is None  # type: ignore[arg-type]
        assert said[0].startswith("processed/gone/profile.json is gone or cannot be read")
    assert profile.data_shift(shelf, spec(shelf.files), dataset, said.append) is None  # type: ignore[arg-type]


def test_data_that_changed_beyond_the_limit_is_refused_before_anything_is_fitted(trained: Bench) -> None:
    drop = trained.drop("raw/b.csv", as_csv([(text, label.upper()) for text, label in reviews(200, seed=3)]))
    limits: dict[str, Any] = {
        "max_rejected_share": 0.05,
        "max_data_shift": 0.5,
        "max_hours": 1,
        "max_cost": None,
        "prices": {},
    }
    trained.ask("moved", drop, baseline="first", limits=limits)
    assert trained.run("moved") == 3
    reason = trained.outcome("moved")["reason"]
    assert reason.startswith("The data has changed more than MaxDataShift allows (1.00, the limit is 0.5).")
    assert "new label 'NEG', 'POS'; no more 'neg', 'pos'" in reason
    assert "raise MaxDataShift" in reason
    assert not trained.store.keys("checkpoints/moved/")
    assert "features:" not in trained.store.get("logs/moved/1/train.log").decode()

    trained.ask("allowed", drop, baseline="first", limits={**limits, "max_data_shift": 1})
    assert trained.run("allowed") == 0
    assert trained.manifest("allowed")["data_shift"]["shift"] == pytest.approx(1)
    assert "no more 'neg', 'pos'" in trained.store.get("models/allowed/model-card.md").decode()
    told = trained.json("processed/allowed/profile.json")
    check("profile", told)
    assert json.dumps(told["class_shares"]).count("POS") == 1
