"""Money through the flows: estimated before, capped while, counted after."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from controlplane.domain.caps import Caps
from controlplane.domain.runs import Machine, Run

from tests.flows import wired
from tests.flows.fakes import NO_CAPACITY
from tests.flows.world import OTHER, World

ROWS = 25_000
BIG = b"text,label\n" + b"good,pos\nbad,neg\n" * (ROWS // 2)


def capped(*, cost: float = 0, hours: float = 4, budget: float = 0) -> World:
    world = World()
    world.caps = Caps(cost, hours, budget)
    return world


def limits_of(world: World, run: Run) -> dict[str, object]:
    limits: dict[str, object] = world.bucket.specs[run.run_id]["limits"]
    return limits


class TestBefore:
    def test_a_run_is_estimated_when_its_batch_settles(self) -> None:
        world = World()
        run = world.dropped_run("raw/films/a.csv", BIG)
        assert run.estimate
        assert run.estimate.rows == pytest.approx(ROWS, rel=0.01)
        assert run.estimate.minutes == pytest.approx((90 + 15 + ROWS * 0.0012) / 60, rel=0.01)
        assert run.estimate.dollars == pytest.approx(0.045 * run.estimate.minutes / 60, rel=0.01)

    def test_what_the_last_run_took_makes_the_next_estimate(self) -> None:
        world = World()
        first = world.dropped_run()
        world.clock.forward(seconds=49)
        world.trainer_publishes(first)  # 10,000 rows in 30 s, after 20 s of boot
        world.on_model_published(first.run_id)
        world.machine_ends(first)
        second = world.dropped_run("raw/b.csv", OTHER)
        assert second.estimate and first.run_id in second.estimate.how
        assert "20 s to boot" in second.estimate.how

    def test_the_spec_has_the_prices_of_all_pools(self) -> None:
        world = World()
        world.prices.spots["m5.large", "zone of s-a"] = None
        run = world.dropped_run()
        assert limits_of(world, run)["prices"] == {
            "c6i.large": {
                "zone of s-a": {"spot": 0.04, "on_demand": 0.1},
                "zone of s-b": {"spot": 0.05, "on_demand": 0.1},
            },
            "m5.large": {"zone of s-a": {"spot": None, "on_demand": None}},
        }

    def test_the_price_list_is_asked_once_a_day_and_again_for_what_it_did_not_tell(self) -> None:
        world = World()
        world.prices.spots["m5.large", "zone of s-a"] = None
        world.dropped_run("raw/a/a.csv")
        asked = list(world.prices.asked)
        assert asked.count("c6i.large") == 1
        world.dropped_run("raw/b/a.csv")
        assert world.prices.asked.count("c6i.large") == 1
        assert world.prices.asked.count("m5.large") > asked.count("m5.large")
        world.clock.forward(hours=25)
        world.drop("raw/c/a.csv")
        world.wait(seconds=61)
        assert world.prices.asked.count("c6i.large") == 2

    def test_without_any_price_a_run_starts_all_the_same_and_its_cost_is_not_known(self) -> None:
        world = capped(cost=5)
        world.prices.spots.clear()
        run = world.promoted()
        assert run.estimate and run.estimate.dollars is None
        assert "at a price that EC2 did not tell" in world.notifier.mails[-1].body
        assert world.bucket.cards[run.run_id][0]["dollars"] is None


class TestTheCapOfARun:
    def test_one_that_would_cost_too_much_fails_before_a_machine_is_asked_for(self) -> None:
        world = capped(cost=0.001)
        world.drop("raw/films/a.csv", BIG)
        world.wait(seconds=61)
        assert world.run.state == "FAILED"
        assert world.fleet.launched == {}
        assert "(MaxRunCost)" in world.notifier.mails[0].body
        assert "What to do: Raise MaxRunCost above" in world.notifier.mails[0].body
        card = world.bucket.cards[world.run.run_id][0]
        assert (card["state"], card["attempts"], card["dollars"]) == ("FAILED", [], 0)

    def test_dropped_again_after_the_cap_was_raised_it_runs(self) -> None:
        world = capped(cost=0.001)
        world.drop("raw/films/a.csv", BIG)
        world.wait(seconds=61)
        failed = world.run
        world.caps = Caps(5, 4, 0)
        again = world.dropped_run("raw/films/a.csv", BIG)
        assert (again.run_id, again.state) == (f"{failed.run_id}-2", "LAUNCHING")

    def test_each_attempt_may_take_what_the_ones_before_left(self) -> None:
        world = capped(cost=1)
        run = world.dropped_run()
        assert limits_of(world, run)["max_cost"] == 1
        assert limits_of(world, run)["max_hours"] == pytest.approx(4 - 1 / 6, abs=1e-3)
        world.clock.forward(hours=2)
        world.trainer_says(run, "interrupted", "Spot notice.", cause="spot")
        world.machine_ends(run)
        assert limits_of(world, run)["max_cost"] == pytest.approx(1 - 2 * 0.04, rel=0.01)
        assert limits_of(world, run)["max_hours"] == pytest.approx(2 - 1 / 6, abs=0.01)

    def test_a_cap_that_is_used_up_ends_an_interrupted_run(self) -> None:
        world = capped(cost=0.05)
        run = world.dropped_run()
        world.clock.forward(hours=2)
        world.machine_ends(run)
        assert world.state_of(run) == "FAILED"
        assert list(world.fleet.launched) == ["i-1"]
        assert "does not pay another machine" in world.notifier.mails[0].body

    def test_hours_that_are_used_up_end_it_too(self) -> None:
        world = capped(hours=1)
        run = world.dropped_run()
        world.clock.forward(hours=1)
        world.machine_ends(run)
        assert world.state_of(run) == "FAILED"
        assert "MaxRunHours" in world.notifier.mails[0].body

    def test_a_trainer_that_goes_on_over_its_cap_is_ended_from_here(self) -> None:
        world = capped(cost=0.05)
        run = world.dropped_run()
        world.clock.forward(minutes=80)  # the cap is reached after 75
        world.on_reconcile_due()
        assert not world.ledger.runs[run.run_id].state.is_final, "it has time to save and to say so"
        world.clock.forward(minutes=6)
        world.on_reconcile_due()
        assert world.state_of(run) == "FAILED"
        assert world.fleet.gone == {"i-1"}
        [mail] = world.notifier.mails
        assert "The $0.0500 that its machine might cost (MaxRunCost, MonthlyBudget) were used up" in mail.body
        assert "hold the limits of its spec" in mail.body.partition("What to do: ")[2]
        world.on_machine_changed("i-1", alive=False)
        assert [bill.dollars for bill in world.ledger.bills("2026-01")] == [pytest.approx(0.04 * 86 / 60, rel=0.02)]

    def test_one_that_goes_on_over_the_hours_of_the_whole_run_too(self) -> None:
        world = capped(hours=2)
        run = world.dropped_run()
        world.clock.forward(minutes=90)
        world.trainer_says(run, "interrupted", "Spot notice.", cause="spot")
        world.machine_ends(run)
        world.clock.forward(minutes=35)
        world.on_reconcile_due()
        assert not world.ledger.runs[run.run_id].state.is_final
        world.clock.forward(minutes=10)
        world.on_reconcile_due()
        assert world.state_of(run) == "FAILED"
        assert world.fleet.gone == {"i-1", "i-2"}
        assert "MaxRunHours" in world.notifier.mails[-1].body

    def test_a_claim_taken_up_again_keeps_what_it_was_allowed(self) -> None:
        """Its machine may be there already, and has read it."""
        world = capped(cost=1)
        world.fleet.refusals = [NO_CAPACITY]
        world.drop()
        world.wait(seconds=61)
        world.caps = Caps(0.0000001, 4, 0)
        world.wait(seconds=200)
        assert world.run.state == "FAILED", "a new attempt is looked at anew"


class TestTheBudgetOfAMonth:
    def used_up(self) -> tuple[World, Run]:
        """$0.08 of $0.1 are spent; the next run would cost more than what is left."""
        world = capped(budget=0.1)
        run = world.dropped_run("raw/a/a.csv")
        world.clock.forward(hours=2)
        world.trainer_says(run, "failed", "No.")
        world.machine_ends(run)
        world.caps = Caps(0, 4, 0.0801)
        world.drop("raw/b/a.csv", OTHER)
        world.wait(seconds=61)
        return world, next(run for run in world.ledger.runs.values() if run.dataset == "b")

    def test_a_run_that_would_go_over_it_waits_and_people_are_told_once_a_month(self) -> None:
        world, waits = self.used_up()
        world.drop("raw/c/a.csv")
        for _ in range(3):
            world.wait(minutes=5)
            world.on_reconcile_due()
        assert waits.state == "QUEUED" and "(MonthlyBudget)" in waits.reason
        assert world.subjects.count("Tidegate: the budget of 2026-01 is used up, runs wait") == 1
        assert list(world.fleet.launched) == ["i-1"]
        assert [record.now for record in world.ledger.history if waits.run_id in record.subject] == ["QUEUED", "QUEUED"]

    def test_it_starts_when_the_month_turns(self) -> None:
        world, waits = self.used_up()
        world.clock.now = datetime(2026, 2, 1, 0, 1, tzinfo=UTC)
        world.on_reconcile_due()
        assert world.state_of(waits) == "LAUNCHING"
        assert limits_of(world, waits)["max_cost"] == 0.0801

    def test_it_starts_when_the_budget_is_raised(self) -> None:
        world, waits = self.used_up()
        world.caps = Caps(0, 4, 10)
        world.on_reconcile_due()
        assert world.state_of(waits) == "LAUNCHING"

    def test_a_run_that_no_month_can_pay_fails_and_keeps_nobody_waiting(self) -> None:
        world = capped(budget=0.001)
        world.drop("raw/a/a.csv", BIG)
        world.wait(seconds=61)
        assert world.run.state == "FAILED"
        assert "(MonthlyBudget)" in world.notifier.mails[0].body
        assert world.ledger.queue().waiting == ()

    def test_machines_of_failed_runs_count(self) -> None:
        world, _ = self.used_up()
        [bill] = world.ledger.bills("2026-01")
        assert bill.dollars == pytest.approx(0.08, rel=0.01)

    def test_a_machines_end_told_five_times_is_counted_once(self) -> None:
        world, _ = self.used_up()
        for _ in range(5):
            world.clock.forward(hours=1)
            world.on_machine_changed("i-1", alive=False)
        assert [bill.dollars for bill in world.ledger.bills("2026-01")] == [pytest.approx(0.08, rel=0.01)]

    def test_two_runs_at_once_cannot_go_over_it_together(self) -> None:
        world = capped(budget=1)
        first = world.dropped_run("raw/a/a.csv")
        second = world.dropped_run("raw/b/a.csv", OTHER)
        assert (first.state, second.state) == ("LAUNCHING", "QUEUED")
        assert world.subjects == [], "that is no news: it starts when the first one is over"
        world.trainer_publishes(first)
        world.on_model_published(first.run_id)
        world.machine_ends(first)
        assert world.state_of(second) == "LAUNCHING"

    def test_nor_when_the_first_ones_machine_is_asked_for_and_not_written_down_yet(self) -> None:
        world = capped(budget=1)
        for key in ("raw/a/a.csv", "raw/b/a.csv"):
            world.drop(key)
        world.clock.forward(seconds=61)
        for ring in world.timer.rings:
            wired.training(world).settle(str(ring.dataset), ring.batch, world.clock.now, patience=wired.PATIENCE)
        launch = world.fleet.launch
        raced: list[str] = []

        def meanwhile(run: Run) -> Machine:
            if not raced:
                raced.append(run.run_id)
                world.on_reconcile_due()
            return launch(run)

        world.fleet.launch = meanwhile  # type: ignore[method-assign]
        world.on_reconcile_due()
        assert list(world.fleet.launched) == ["i-1"]
        assert sorted(run.state for run in world.ledger.runs.values()) == ["LAUNCHING", "QUEUED"]

    def test_a_run_in_the_middle_waits_too_and_goes_on(self) -> None:
        world = capped(budget=0.1)
        run = world.dropped_run()
        world.clock.forward(hours=3)
        world.trainer_says(run, "interrupted", "Spot notice.", cause="spot")
        world.machine_ends(run)
        assert world.state_of(run) == "INTERRUPTED"
        world.clock.now = datetime(2026, 2, 1, 0, 1, tzinfo=UTC)
        world.on_reconcile_due()
        assert world.state_of(run) == "LAUNCHING"
