"""What a run costs, and what is said where the price is not known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from controlplane.domain.money import Bill, Stint, bills, cost_sentence, dollars, known_dollars, on_demand_dollars

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def stint(
    minutes: float | None, price: float | None = 0.06, lifecycle: str = "spot", on_demand: float | None = 0.2
) -> Stint:
    ended = None if minutes is None else NOON + timedelta(minutes=minutes)
    return Stint(1, "i-1", "c6i.large", "a", lifecycle, price, NOON, ended, on_demand=on_demand)


def test_time_costs_its_price() -> None:
    assert dollars((stint(60), stint(30)), NOON) == 0.06 + 0.03


def test_a_machine_costs_a_minute_at_least() -> None:
    assert dollars((stint(0.1),), NOON) == pytest.approx(0.06 / 60)


def test_a_machine_that_still_runs_costs_until_now() -> None:
    assert dollars((stint(None),), NOON + timedelta(hours=2)) == 0.12


def test_a_clock_that_runs_back_costs_nothing_less() -> None:
    assert stint(None).seconds(NOON - timedelta(hours=1)) == 0


def test_one_unknown_price_makes_the_sum_unknown() -> None:
    assert dollars((stint(60), stint(60, None)), NOON) is None
    assert "a price that EC2 did not tell" in cost_sentence((stint(60, None),), NOON)


def test_no_machine_costs_nothing() -> None:
    assert cost_sentence((), NOON) == "0.0 machine minutes on no machine for $0.0000"


def test_the_sentence_names_time_machines_and_sum() -> None:
    told = cost_sentence((stint(30), stint(30, lifecycle="on-demand")), NOON)
    assert told == (
        "60.0 machine minutes on c6i.large on-demand, c6i.large spot for $0.0600; on demand it would have cost $0.2000"
    )


def test_where_the_price_on_demand_is_not_known_the_sentence_says_so() -> None:
    assert cost_sentence((stint(30, on_demand=None),), NOON).endswith("what it would have cost on demand is not known")
    assert on_demand_dollars((stint(30), stint(30, on_demand=None)), NOON) is None


def test_a_bill_is_written_for_each_machine_that_ended_in_the_month_of_its_start() -> None:
    [bill] = bills("films-1", (stint(60), stint(None)))
    assert bill == Bill("i-1", "films-1", 0.06, "2026-01")


def test_what_has_no_price_cannot_be_counted() -> None:
    assert bills("films-1", (stint(60, None),))[0].dollars is None
    assert known_dollars((stint(60), stint(60, None)), NOON) == 0.06
