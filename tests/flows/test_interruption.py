"""A machine is taken back: the next one is asked for within half a minute of the notice, whatever else is heard."""

from __future__ import annotations

import pytest
from controlplane.domain.runs import Run
from controlplane.ports import Conflict

from tests.flows.world import World


def now(world: World, run: Run) -> Run:
    return world.ledger.runs[run.run_id]


def said(world: World, run: Run, cause: str = "spot") -> None:
    """The trainer saved, wrote its outcome, and S3 told of it."""
    current = now(world, run)
    world.trainer_says(current, "interrupted", f"{cause} notice; saved step 14.", cause=cause)
    world.on_attempt_ended(run.run_id, current.attempt)


class TestTheTrainersWord:
    @pytest.mark.parametrize("cause", ["spot", "rebalance", "sigterm"])
    def test_the_next_machine_is_asked_for_at_once_and_the_reason_is_kept(self, cause: str) -> None:
        world = World()
        run = world.dropped_run()
        said(world, run, cause)
        after = now(world, run)
        assert (after.state, after.attempt, after.machine) == ("LAUNCHING", 2, "i-2")
        assert [stint.cause for stint in after.stints] == [cause, ""]
        assert world.subjects == []

    def test_the_end_of_the_machine_that_comes_after_only_stops_its_bill(self) -> None:
        world = World()
        run = world.dropped_run()
        said(world, run)
        before = now(world, run)
        world.fleet.gone.add("i-1")
        world.on_machine_changed("i-1", alive=False)
        after = now(world, run)
        assert (after.state, after.attempt, after.machine) == (before.state, before.attempt, before.machine)
        assert (after.stints[0].cause, after.stints[0].gone) == ("spot", True)

    def test_a_word_of_an_earlier_attempt_changes_nothing(self) -> None:
        world = World()
        run = world.dropped_run()
        world.machine_ends(run)
        before = now(world, run)
        world.trainer_says(run, "failed", "I was late.")
        world.on_attempt_ended(run.run_id, 1)
        assert now(world, run) == before

    def test_the_same_word_five_times_is_one_next_machine(self) -> None:
        world = World()
        run = world.dropped_run()
        said(world, run)
        for _ in range(4):
            world.on_attempt_ended(run.run_id, 1)
        assert list(world.fleet.launched) == ["i-1", "i-2"]

    @pytest.mark.parametrize("outcome", ["failed", "stopped"])
    def test_a_run_that_cannot_go_on_fails_before_its_machine_is_gone(self, outcome: str) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_says(run, outcome, "It cannot.", cause="cost" if outcome == "stopped" else None)
        world.on_attempt_ended(run.run_id, 1)
        assert (now(world, run).state, len(world.subjects)) == ("FAILED", 1)
        assert list(world.fleet.launched) == ["i-1"]

    def test_the_word_that_comes_before_a_model_starts_no_other_machine(self) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_says(run, "trained", "Done.")
        world.on_attempt_ended(run.run_id, 1)
        assert (now(world, run).machine, list(world.fleet.launched)) == ("i-1", ["i-1"])

    def test_a_word_about_nobodys_run_is_ignored(self) -> None:
        world = World()
        world.on_attempt_ended("unknown-1", 1)
        assert world.ledger.history == []


class TestTheNotice:
    def test_without_a_word_within_twenty_seconds_the_next_machine_is_asked_for_all_the_same(self) -> None:
        world = World()
        run = world.dropped_run()
        world.on_machine_warned("i-1")
        world.wait(seconds=19)
        assert now(world, run).machine == "i-1"
        world.wait(seconds=2)
        after = now(world, run)
        assert (after.state, after.machine, after.stints[0].cause) == ("LAUNCHING", "i-2", "notice")
        assert world.fleet.gone == set(), "the old one may save until it is taken"

    def test_with_a_word_whose_event_was_lost_it_counts(self) -> None:
        world = World()
        run = world.dropped_run()
        world.on_machine_warned("i-1")
        world.trainer_says(run, "interrupted", "Spot notice; saved step 14.", cause="spot")
        world.wait(seconds=21)
        assert [stint.cause for stint in now(world, run).stints] == ["spot", ""]

    def test_a_run_that_went_on_already_is_left_alone(self) -> None:
        world = World()
        run = world.dropped_run()
        world.on_machine_warned("i-1")
        said(world, run)
        world.wait(seconds=21)
        assert (now(world, run).machine, now(world, run).attempt) == ("i-2", 2)

    def test_warned_five_times_it_is_one_next_machine(self) -> None:
        world = World()
        world.dropped_run()
        for _ in range(5):
            world.on_machine_warned("i-1")
        world.wait(seconds=30)
        assert list(world.fleet.launched) == ["i-1", "i-2"]

    def test_a_model_on_its_way_is_waited_for(self) -> None:
        world = World()
        run = world.dropped_run()
        world.on_machine_warned("i-1")
        world.trainer_says(run, "trained", "Done.")
        world.wait(seconds=21)
        assert now(world, run).machine == "i-1"

    def test_a_strangers_machine_sets_no_timer(self) -> None:
        world = World()
        world.on_machine_warned("i-of-somebody-else")
        assert world.timer.rings == []


class TestOldAndNew:
    def test_a_model_of_the_old_machine_counts_and_the_new_one_is_ended(self) -> None:
        world = World()
        run = world.dropped_run()
        world.on_machine_warned("i-1")
        world.wait(seconds=21)
        world.trainer_publishes(run)
        world.on_model_published(run.run_id)
        after = now(world, run)
        assert (after.state, after.machine) == ("PROMOTED", "i-1")
        assert world.fleet.gone == {"i-2"}
        world.on_machine_changed("i-2", alive=False)
        assert [bool(stint.ended_at) for stint in now(world, run).stints] == [True, True]

    def test_a_model_of_the_new_machine_ends_the_old_one(self) -> None:
        world = World()
        run = world.dropped_run()
        world.on_machine_warned("i-1")
        world.wait(seconds=21)
        world.trainer_publishes(now(world, run))
        world.on_model_published(run.run_id)
        assert world.fleet.gone == {"i-1"}

    def test_the_machine_that_published_is_left_to_tidy_up(self) -> None:
        world = World()
        world.promoted()
        world = World()
        run = world.dropped_run()
        world.trainer_publishes(run)
        for _ in range(2):
            world.on_model_published(run.run_id)
        assert world.fleet.gone == set()

    def test_a_machine_that_was_had_while_another_published_is_ended(self) -> None:
        world = World()
        run = world.dropped_run()
        world.on_machine_warned("i-1")
        launch = world.fleet.launch

        def overtaken(asking: Run) -> object:
            machine = launch(asking)
            world.fleet.launch = launch  # type: ignore[method-assign]
            world.trainer_publishes(run)
            world.on_model_published(run.run_id)
            return machine

        world.fleet.launch = overtaken  # type: ignore[assignment, method-assign]
        world.wait(seconds=21)
        assert now(world, run).state == "PROMOTED"
        assert world.fleet.gone == {"i-2"}


class TestHowOften:
    def test_three_interruptions_are_four_attempts_and_one_model(self) -> None:
        """A notice, a death without a word, a notice while booting."""
        world = World(max_attempts=2)
        run = world.dropped_run()
        world.on_machine_changed("i-1", alive=True)
        said(world, run)
        world.on_machine_changed("i-2", alive=True)
        world.fleet.gone.add("i-2")
        world.on_machine_changed("i-2", alive=False)
        world.on_machine_warned("i-3")
        world.wait(seconds=21)
        world.on_machine_changed("i-4", alive=True)
        world.trainer_publishes(now(world, run))
        world.on_model_published(run.run_id)
        after = now(world, run)
        assert (after.state, after.attempt) == ("PROMOTED", 4)
        assert [stint.cause for stint in after.stints][:3] == ["spot", "silence", "notice"]
        assert list(world.fleet.launched) == ["i-1", "i-2", "i-3", "i-4"]

    def test_machines_that_die_without_a_word_are_enough_at_some_time(self) -> None:
        world = World(max_attempts=2)
        run = world.dropped_run()
        world.machine_ends(run)
        world.machine_ends(run)
        assert now(world, run).state == "FAILED"
        assert "2 machines ended" in now(world, run).reason

    def test_a_vanished_machine_is_found_by_the_reconciler(self) -> None:
        world = World()
        run = world.dropped_run()
        world.on_machine_changed("i-1", alive=True)
        world.fleet.gone.add("i-1")
        world.clock.forward(minutes=5)
        world.on_reconcile_due()
        assert (now(world, run).machine, now(world, run).stints[0].cause) == ("i-2", "silence")


def test_a_launch_that_lost_a_race_for_another_reason_is_tried_again() -> None:
    world = World()
    world.drop()
    world.clock.forward(seconds=61)
    save, ring = world.ledger.save_run, world.timer.rings[0]

    def overtaken(run: Run, *args: object, **kwargs: object) -> Run:
        if run.machine:
            raise Conflict("somebody else wrote first")
        return save(run, *args, **kwargs)  # type: ignore[arg-type]

    world.ledger.save_run = overtaken  # type: ignore[method-assign]
    with pytest.raises(Conflict):
        world.on_batch_settled(ring)
    del world.ledger.save_run
    world.clock.forward(seconds=91)
    world.on_batch_settled(ring)
    assert (world.run.machine, list(world.fleet.launched), world.fleet.gone) == ("i-1", ["i-1"], set())
