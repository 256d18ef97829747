"""Claims, leases, attempts, and the queue that runs wait in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from controlplane.domain.prices import PriceList
from controlplane.domain.runs import CLAIM_LEASE, Machine, Outcome, Queue, Run, RunState, after_machine_ended

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MACHINE = Machine("i-1", "c6i.large", "eu-west-1a", "spot")
PRICES = PriceList({("c6i.large", "eu-west-1a"): 0.04}, {"c6i.large": 0.1})


def a_run(name: str = "films-1", dataset: str = "films", **more: object) -> Run:
    return replace(Run(name, dataset, "sha256:0", NOON), **more)  # type: ignore[arg-type]


def on_machines(count: int) -> Run:
    run = a_run()
    for number in range(count):
        run = run.claimed(NOON).on(replace(MACHINE, machine_id=f"i-{number}"), NOON, PRICES).training()
        run = run.without_machine(NOON + timedelta(minutes=5))
    return run


class TestClaims:
    def test_a_claim_counts_an_attempt_and_names_its_token(self) -> None:
        run = a_run().claimed(NOON)
        assert (run.state, run.attempt, run.launch_token) == (RunState.LAUNCHING, 1, "films-1-1")

    @pytest.mark.parametrize("state", [RunState.QUEUED, RunState.INTERRUPTED])
    def test_a_run_that_waits_may_be_claimed(self, state: RunState) -> None:
        assert a_run(state=state).may_be_claimed(NOON)

    @pytest.mark.parametrize(
        "state", [RunState.TRAINING, RunState.PROMOTED, RunState.REJECTED, RunState.FAILED, RunState.CANCELLED]
    )
    def test_no_other_run_may(self, state: RunState) -> None:
        assert not a_run(state=state).may_be_claimed(NOON)

    def test_a_claim_is_respected_until_its_lease_is_over(self) -> None:
        run = a_run().claimed(NOON)
        assert not run.may_be_claimed(NOON + CLAIM_LEASE)
        assert run.may_be_claimed(NOON + CLAIM_LEASE + timedelta(seconds=1))

    def test_a_claim_taken_up_again_is_the_same_attempt_with_the_same_token(self) -> None:
        run = a_run().claimed(NOON)
        again = run.claimed(NOON + CLAIM_LEASE * 2)
        assert again.launch_token == run.launch_token

    def test_a_run_on_a_machine_is_not_claimed_however_long_it_takes(self) -> None:
        run = a_run().claimed(NOON).on(MACHINE, NOON, PRICES)
        assert not run.may_be_claimed(NOON + timedelta(days=1))

    def test_after_a_refusal_the_next_claim_has_a_new_token(self) -> None:
        run = a_run().claimed(NOON)
        again = run.waits_again("no capacity").claimed(NOON)
        assert again.launch_token != run.launch_token

    def test_an_interrupted_run_goes_on_as_the_next_attempt(self) -> None:
        run = after_machine_ended(on_machines(1), None, published=False, max_attempts=3)
        assert run.claimed(NOON).attempt == 2


class TestStints:
    def test_the_bill_stops_when_the_machine_ends(self) -> None:
        run = a_run().claimed(NOON).on(MACHINE, NOON, PRICES).without_machine(NOON + timedelta(hours=1))
        assert run.stints[0].seconds(NOON + timedelta(days=9)) == 3600

    def test_the_second_word_of_its_end_changes_nothing(self) -> None:
        run = a_run().claimed(NOON).on(MACHINE, NOON, PRICES).without_machine(NOON + timedelta(hours=1))
        assert run.without_machine(NOON + timedelta(hours=2)) == run

    def test_a_stint_has_both_prices_of_its_pool(self) -> None:
        [spot] = a_run().claimed(NOON).on(MACHINE, NOON, PRICES).stints
        assert (spot.price, spot.on_demand) == (0.04, 0.1)
        [other] = a_run().claimed(NOON).on(replace(MACHINE, lifecycle="on-demand"), NOON, PRICES).stints
        assert (other.price, other.on_demand) == (0.1, 0.1)
        [unknown] = a_run().claimed(NOON).on(replace(MACHINE, zone="unknown"), NOON, PRICES).stints
        assert (unknown.price, unknown.on_demand) == (None, 0.1)

    def test_an_attempt_may_be_over_before_its_machine_is_gone_and_the_machine_is_billed(self) -> None:
        run = a_run().claimed(NOON).on(MACHINE, NOON, PRICES)
        said = run.without_machine(NOON + timedelta(minutes=5), "spot", "Spot notice.", gone=False)
        assert (said.stints[0].seconds(NOON), said.is_billed) == (300, False)
        gone = said.machine_ended("i-1", NOON + timedelta(minutes=7), "overtaken", "the run went on without it")
        assert (gone.stints[0].seconds(NOON), gone.is_billed, gone.stints[0].why_ended) == (420, True, "Spot notice.")
        assert gone.machine_ended("i-1", NOON + timedelta(hours=9), "", "") == gone

    def test_every_machine_is_remembered(self) -> None:
        assert [stint.machine for stint in on_machines(3).stints] == ["i-0", "i-1", "i-2"]


class TestAMachineEnded:
    def test_without_a_word_the_run_is_interrupted(self) -> None:
        run = after_machine_ended(on_machines(1), None, published=False, max_attempts=5)
        assert (run.state, run.machine) == (RunState.INTERRUPTED, None)
        assert run.reason == "The machine ended without a word."

    def test_interrupted_in_the_trainers_own_words(self) -> None:
        outcome = Outcome("interrupted", "Spot notice; saved step 14.")
        run = after_machine_ended(on_machines(1), outcome, published=False, max_attempts=5)
        assert (run.state, run.reason) == (RunState.INTERRUPTED, "Spot notice; saved step 14.")

    def test_trained_but_not_published_goes_on(self) -> None:
        run = after_machine_ended(on_machines(1), Outcome("trained", "Done."), published=False, max_attempts=5)
        assert run.state is RunState.INTERRUPTED

    def test_failed_is_final_with_the_trainers_own_reason(self) -> None:
        run = after_machine_ended(on_machines(1), Outcome("failed", "45 % refused."), published=False, max_attempts=5)
        assert (run.state, run.reason) == (RunState.FAILED, "45 % refused.")

    def test_machines_that_ec2_took_back_do_not_count_as_dead(self) -> None:
        run = on_machines(3)
        run = replace(run, stints=tuple(replace(stint, cause="spot") for stint in run.stints))
        after = after_machine_ended(run, Outcome("interrupted", "Spot."), published=False, max_attempts=1)
        assert after.state is RunState.INTERRUPTED

    def test_too_many_machines_are_enough(self) -> None:
        run = after_machine_ended(on_machines(3), Outcome("interrupted", "Spot."), published=False, max_attempts=3)
        assert run.state is RunState.FAILED
        assert run.reason == "3 machines ended before the model was published. Last: Spot."

    def test_refusals_for_want_of_capacity_are_no_machines(self) -> None:
        run = on_machines(1)
        for _ in range(9):
            run = run.claimed(NOON).waits_again("no capacity")
        assert after_machine_ended(run, None, published=False, max_attempts=2).state is RunState.INTERRUPTED

    def test_a_published_model_is_left_to_its_own_event(self) -> None:
        run = on_machines(9)
        assert after_machine_ended(run, Outcome("failed", "?"), published=True, max_attempts=1) == run

    @pytest.mark.parametrize("state", [state for state in RunState if state.is_final])
    def test_a_final_run_stays_what_it_is(self, state: RunState) -> None:
        run = a_run(state=state)
        assert after_machine_ended(run, None, published=False, max_attempts=1) == run


class TestTheQueue:
    def test_the_oldest_is_next(self) -> None:
        queue = Queue().with_waiting(a_run("a", "1")).with_waiting(a_run("b", "2"))
        assert queue.next_up(limit=1) == "a"

    def test_a_run_waits_once(self) -> None:
        queue = Queue().with_waiting(a_run())
        assert queue.with_waiting(a_run()) == queue
        active = queue.with_active(a_run())
        assert active.with_waiting(a_run()) == active
        assert active.with_active(a_run()) == active

    def test_no_more_run_at_once_than_allowed(self) -> None:
        queue = Queue().with_active(a_run("a", "1")).with_waiting(a_run("b", "2"))
        assert queue.next_up(limit=1) is None
        assert queue.next_up(limit=2) == "b"

    def test_one_run_a_dataset_and_others_overtake(self) -> None:
        queue = Queue().with_active(a_run("a1", "1")).with_waiting(a_run("a2", "1")).with_waiting(a_run("b", "2"))
        assert queue.next_up(limit=9) == "b"
        assert queue.without(a_run("a1", "1")).next_up(limit=9) == "a2"

    def test_a_run_without_a_machine_goes_back_to_the_front(self) -> None:
        first, second = a_run("a", "1"), a_run("b", "2")
        queue = Queue().with_waiting(first).with_waiting(second).with_active(first).back_to_waiting(first)
        assert queue.waiting == (("a", "1"), ("b", "2"))
        assert queue.active == ()

    def test_a_run_that_is_over_is_kept_until_its_last_machine_is_gone(self) -> None:
        run = a_run().claimed(NOON).on(MACHINE, NOON, PRICES)
        queue = Queue().with_active(run).without(run)
        assert (queue.active, queue.billing) == ((), (("films-1", "films"),))
        assert queue.without(run.without_machine(NOON)).billing == ()

    def test_a_run_has_a_slot_when_it_holds_one_or_is_next(self) -> None:
        queue = Queue().with_active(a_run("a", "1")).with_waiting(a_run("b", "2")).with_waiting(a_run("c", "3"))
        has = {name: queue.has_slot(a_run(name, dataset), 2) for name, dataset in (("a", "1"), ("b", "2"), ("c", "3"))}
        assert has == {"a": True, "b": True, "c": False}
        assert not queue.has_slot(a_run("b", "2"), 1)

    def test_a_newer_snapshot_takes_the_place_of_one_that_waits(self) -> None:
        queue = Queue().with_waiting(a_run("a1", "1")).with_waiting(a_run("b", "2"))
        assert queue.replaced_by(a_run("a2", "1")) == "a1"
        assert queue.with_waiting(a_run("a2", "1")).waiting == (("a2", "1"), ("b", "2"))
        active = queue.with_active(a_run("a1", "1"))
        assert active.replaced_by(a_run("a2", "1")) is None

    def test_an_ended_run_leaves_it_wherever_it_was(self) -> None:
        assert Queue().with_waiting(a_run()).without(a_run()) == Queue()
        assert Queue().with_active(a_run()).without(a_run()) == Queue()
