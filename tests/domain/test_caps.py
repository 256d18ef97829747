"""May a machine be asked for, and what may it cost: the caps of a run and the budget of a month."""

from __future__ import annotations

from controlplane.domain.caps import Allowance, Caps, OverBudget, Spent, UsedUp, allow
from controlplane.domain.estimates import Estimate

FREE = Caps(cost=0, hours=4, budget=0)
CAPPED = Caps(cost=1, hours=4, budget=0)
BUDGET = Caps(cost=0, hours=4, budget=10)
CHEAP = Estimate(100, 2.0, 0.01, "by hand")
DEAR = Estimate(10**9, 6000.0, 4.0, "by hand")


def test_without_a_cap_only_hours_count_less_a_margin_to_say_why() -> None:
    assert allow(FREE, Spent(), DEAR, 0.04, fresh=True) == Allowance(round(4 - 1 / 6, 4), None)


def test_what_earlier_attempts_took_is_off() -> None:
    assert allow(CAPPED, Spent(dollars=0.4, hours=1), CHEAP, 0.04, fresh=False) == Allowance(round(3 - 1 / 6, 4), 0.6)


def test_a_run_that_would_cost_too_much_is_not_started_and_says_what_to_raise() -> None:
    told = allow(CAPPED, Spent(), DEAR, 0.04, fresh=True)
    assert isinstance(told, UsedUp)
    assert told.reason == "The run would cost about $4.0000 (by hand); a run may cost $1 (MaxRunCost)."
    assert told.to_do == "Raise MaxRunCost above 4.0000 and drop the data again, or train on less."


def test_one_that_runs_already_goes_on_while_money_is_left_whatever_was_estimated() -> None:
    assert isinstance(allow(CAPPED, Spent(dollars=0.5), DEAR, 0.04, fresh=False), Allowance)


def test_a_machine_that_could_not_even_be_paid_a_minute_is_not_asked_for() -> None:
    told = allow(CAPPED, Spent(dollars=0.9999), CHEAP, 0.04, fresh=False)
    assert isinstance(told, UsedUp) and "does not pay another machine" in told.reason
    assert isinstance(allow(FREE, Spent(hours=3.83), CHEAP, 0.04, fresh=False), UsedUp)


def test_without_an_estimate_and_without_a_price_the_caps_are_handed_on() -> None:
    assert allow(CAPPED, Spent(), None, None, fresh=True) == Allowance(round(4 - 1 / 6, 4), 1)


def test_a_month_that_is_used_up_lets_nothing_start() -> None:
    told = allow(BUDGET, Spent(month=10), CHEAP, 0.04, fresh=True)
    assert isinstance(told, OverBudget) and not told.soon
    assert told.reason.startswith("$10.0000 of this month's $10 (MonthlyBudget) are spent")


def test_a_run_that_would_go_over_the_month_waits_and_a_cheaper_one_starts() -> None:
    spent = Spent(month=7)
    assert isinstance(allow(BUDGET, spent, DEAR, 0.04, fresh=True), OverBudget)
    assert allow(BUDGET, spent, CHEAP, 0.04, fresh=True) == Allowance(round(4 - 1 / 6, 4), 3)


def test_a_run_that_would_cost_more_than_a_whole_month_does_not_wait_for_the_next_one() -> None:
    told = allow(Caps(cost=0, hours=4, budget=3), Spent(), DEAR, 0.04, fresh=True)
    assert isinstance(told, UsedUp)
    assert told.reason == "The run would cost about $4.0000 (by hand); a whole month may cost $3 (MonthlyBudget)."
    assert told.to_do == "Raise MonthlyBudget above 4.0000 and drop the data again, or train on less."


def test_two_runs_at_once_cannot_go_over_the_month_together() -> None:
    told = allow(BUDGET, Spent(month=1, promised=9), CHEAP, 0.04, fresh=True)
    assert isinstance(told, OverBudget) and told.soon
    assert allow(BUDGET, Spent(month=1, promised=4), CHEAP, 0.04, fresh=True) == Allowance(round(4 - 1 / 6, 4), 5)


def test_the_nearer_of_cap_and_budget_stops_the_run() -> None:
    both = Caps(cost=2, hours=4, budget=10)
    assert allow(both, Spent(month=9), CHEAP, 0.04, fresh=True) == Allowance(round(4 - 1 / 6, 4), 1)
    assert allow(both, Spent(month=5), CHEAP, 0.04, fresh=True) == Allowance(round(4 - 1 / 6, 4), 2)
