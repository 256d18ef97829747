"""What a run will take: by the reference of its recipe, and by what the last run took."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from controlplane.domain.drops import Drop, mean_row
from controlplane.domain.estimates import CURVES, Estimate, Pace, estimate, pace_of, rows_of
from controlplane.domain.models import Metrics, Model
from controlplane.domain.money import Stint
from controlplane.domain.prices import PriceList

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PRICES = PriceList({("c6i.large", "a"): 0.03, ("c6i.large", "b"): 0.05, ("m5.large", "a"): None}, {"c6i.large": 0.1})
DROP = Drop("raw/films/a.csv", "e", 2_500_000, row_bytes=100.0)
PACE = Pace("films-1", "films", "linear", 25_000, 2_500_000, 30.0, 60.0, NOON)


def known(*paces: Pace, drops: tuple[Drop, ...] = (DROP,), recipe: str = "linear") -> Estimate:
    told = estimate(drops, recipe, paces, PRICES)
    assert told
    return told


def test_the_first_run_goes_by_the_reference_of_its_recipe() -> None:
    told = known()
    assert told.rows == 25_000
    assert told.minutes == pytest.approx((90 + CURVES["linear"].seconds(25_000)) / 60, abs=0.01)
    assert told.dollars == pytest.approx(0.04 * told.minutes / 60, rel=0.01)
    assert CURVES["linear"].source in told.how
    assert "about 25,000 rows by the mean length of the first ones" in told.how
    assert "at $0.0400 an hour, the middle of 2 spot pools" in told.how


def test_the_same_data_takes_what_it_took() -> None:
    assert known(PACE).minutes == pytest.approx((60 + 30) / 60, abs=0.01)
    assert "the pace of run films-1 (25,000 rows in 30 s)" in known(PACE).how


def test_twice_as_fast_a_run_makes_the_next_estimate_half_as_long() -> None:
    ten_times = replace(DROP, size=10 * DROP.size)
    slow = known(replace(PACE, boot=0), drops=(ten_times,))
    fast = known(replace(PACE, boot=0, seconds=15), drops=(ten_times,))
    assert slow.minutes == pytest.approx(2 * fast.minutes, rel=0.01)


def test_a_tiny_first_run_says_nothing_absurd_about_millions_of_rows() -> None:
    """10 s for 200 rows are the start of the trainer, not 50 ms a row."""
    tiny = replace(PACE, rows=200, bytes=20_000, seconds=10.0)
    millions = replace(DROP, size=500_000_000)
    assert known(tiny, drops=(millions,)).minutes < known(drops=(millions,)).minutes


def test_the_datasets_own_pace_goes_before_a_newer_one_of_another() -> None:
    other = replace(PACE, run_id="books-1", dataset="books", seconds=900.0, at=NOON + timedelta(days=1))
    assert known(PACE, other) == known(PACE)
    assert "run books-1" in known(other).how


def test_an_unknown_recipe_is_not_guessed_but_measured_by_its_first_run() -> None:
    assert estimate([DROP], "bayes", [], PRICES) is None
    assert known(replace(PACE, recipe="bayes"), recipe="bayes").minutes == pytest.approx(1.5, abs=0.01)


def test_without_a_price_there_are_minutes_and_no_dollars() -> None:
    told = estimate([DROP], "linear", [], PriceList())
    assert told and told.dollars is None
    assert "a Spot price that EC2 did not tell" in told.how


def test_a_machine_costs_a_minute_at_least() -> None:
    told = known(replace(PACE, boot=0, seconds=1))
    assert told.dollars == pytest.approx(0.04 / 60, rel=0.01)


def test_drops_of_older_days_are_counted_by_the_last_runs_bytes_a_row() -> None:
    old = replace(DROP, row_bytes=0)
    assert rows_of([old], PACE) == (25_000, "about 25,000 rows by the bytes a row of run films-1")
    assert estimate([old], "linear", [], PRICES) is None


def test_no_data_has_no_estimate() -> None:
    assert estimate([], "linear", [PACE], PRICES) is None


class TestThePaceOfARun:
    METRICS = Metrics(10, 0.9, 0.5, 0.0, {})
    STINT = Stint(1, "i-1", "c6i.large", "a", "spot", 0.04, NOON)

    def model(self, *, resumed: bool = False) -> Model:
        made = NOON + timedelta(seconds=100)
        return Model(
            "films-1", "films", "sha256:0", self.METRICS, None, "0", 25_000, 0, "linear", 30.0, made, resumed, 1
        )

    def test_a_whole_run_measures_its_boot_and_its_rows(self) -> None:
        pace = pace_of(self.model(), [self.STINT], 2_500_000)
        assert pace == Pace("films-1", "films", "linear", 25_000, 2_500_000, 30.0, 70.0, NOON + timedelta(seconds=100))

    def test_one_that_went_on_from_a_checkpoint_measures_nothing(self) -> None:
        assert pace_of(self.model(resumed=True), [self.STINT], 1) is None
        assert pace_of(self.model(), [], 1) is None


class TestTheMeanRow:
    def test_it_is_of_the_rows_in_the_head(self) -> None:
        head = b"text,label\n" + b"good,pos\n" * 100
        assert mean_row(Drop("raw/a.csv", "e", len(head)), head) == pytest.approx(9.1, abs=0.05)

    def test_a_row_that_the_head_cuts_does_not_count(self) -> None:
        head = b"text,label\n" + b"good,pos\n" * 100 + b"a row that is much longer than all the oth"
        assert mean_row(Drop("raw/a.csv", "e", 10**9), head) == pytest.approx(9.1, abs=0.05)

    def test_a_text_may_hold_line_ends(self) -> None:
        head = b"text,label\n" + b'"a\nb\nc",pos\n' * 10
        assert mean_row(Drop("raw/a.csv", "e", len(head)), head) == pytest.approx(13.1, abs=0.1)
