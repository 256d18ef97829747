"""Which pools are asked, for what, and when again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from controlplane.domain.pools import (
    LONGEST_WAIT,
    Pool,
    Rest,
    SpotPolicy,
    lifecycle,
    pools_of,
    rested,
    time_left,
    too_few,
    wait_after,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
A, B, C = (Pool(kind, "s-a") for kind in ("c6i.large", "m5.large", "g5.xlarge"))
POLICY = SpotPolicy(attempts=3, deadline=timedelta(hours=24))
BASE = timedelta(seconds=120)


def rest(pool: Pool, minutes: float, kind: str = "spot") -> Rest:
    return Rest(pool, kind, NOON + timedelta(minutes=minutes), "refused")


class TestPools:
    def test_every_type_in_every_subnet_is_one(self) -> None:
        assert pools_of(["a", "b"], ["1", "2"]) == (Pool("a", "1"), Pool("a", "2"), Pool("b", "1"), Pool("b", "2"))

    def test_blanks_and_doubles_make_none(self) -> None:
        assert pools_of([" a", "a", ""], ["1 ", "1"]) == (Pool("a", "1"),)

    def test_fewer_than_ten_are_told_of(self) -> None:
        told = too_few(pools_of(["a", "b", "c"], ["1", "2", "3"]))
        assert told and told.startswith("There are 9 pools to take machines from (3 types in 3 subnets)")
        assert too_few(pools_of(["a", "b", "c", "d", "e"], ["1", "2"])) is None


class TestRest:
    def test_a_pool_that_rests_is_left_out_until_its_time(self) -> None:
        assert rested([A, B, C], [rest(B, 10)], "spot", NOON) == (A, C)
        assert rested([A, B, C], [rest(B, 10)], "spot", NOON + timedelta(minutes=10)) == (A, B, C)

    def test_spot_and_on_demand_rest_apart(self) -> None:
        assert rested([A, B], [rest(B, 10, "on-demand")], "spot", NOON) == (A, B)

    def test_when_all_rest_all_are_asked(self) -> None:
        assert rested([A, B], [rest(A, 10), rest(B, 10)], "spot", NOON) == (A, B)

    def test_a_pool_that_is_no_more_matters_to_nobody(self) -> None:
        assert rested([A], [rest(C, 10)], "spot", NOON) == (A,)


class TestSpotOrOnDemand:
    @pytest.mark.parametrize(("tries", "kind"), [(0, "spot"), (2, "spot"), (3, "on-demand"), (9, "on-demand")])
    def test_after_so_many_tries_on_demand(self, tries: int, kind: str) -> None:
        assert lifecycle(tries, NOON, NOON, timedelta(hours=4), POLICY)[0] == kind

    @pytest.mark.parametrize(("hours", "kind"), [(0, "spot"), (20, "spot"), (20.1, "on-demand"), (99, "on-demand")])
    def test_when_the_deadline_would_be_missed_on_demand(self, hours: float, kind: str) -> None:
        now = NOON + timedelta(hours=hours)
        told = lifecycle(0, NOON, now, timedelta(hours=4), POLICY)
        assert told[0] == kind
        assert kind == "spot" or told[1] == "on-demand, for the deadline of 24 hours would be missed"

    def test_no_try_at_all_is_always_on_demand(self) -> None:
        assert lifecycle(0, NOON, NOON, timedelta(), SpotPolicy(0, POLICY.deadline))[0] == "on-demand"


class TestTimeLeft:
    def test_without_an_estimate_it_is_what_the_run_is_allowed(self) -> None:
        assert time_left(timedelta(hours=4), timedelta(hours=1), None) == timedelta(hours=3)
        assert time_left(timedelta(hours=4), timedelta(hours=9), None) == timedelta()

    def test_an_estimate_counts_twice_for_it_is_one(self) -> None:
        assert time_left(timedelta(hours=4), timedelta(hours=1), timedelta(minutes=10)) == timedelta(minutes=20)
        assert time_left(timedelta(hours=4), timedelta(hours=3), timedelta(hours=9)) == timedelta(hours=1)


class TestWaiting:
    def test_the_gaps_double_up_to_a_quarter_of_an_hour(self) -> None:
        gaps = [wait_after(number, BASE, 0) for number in (1, 2, 3, 4, 5, 99)]
        assert gaps == [BASE, BASE * 2, BASE * 4, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT]

    def test_chance_shortens_a_gap_by_a_quarter_at_the_most(self) -> None:
        assert wait_after(1, BASE, 1) == BASE * 0.75
        assert wait_after(99, BASE, 0.999) < LONGEST_WAIT
