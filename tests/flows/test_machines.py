"""A machine starts and ends, in any order and as often as it is told; what becomes of its run."""

from __future__ import annotations

import pytest

from tests.flows.world import World


class TestMachines:
    def test_an_interrupted_run_goes_on_elsewhere_as_the_next_attempt(self) -> None:
        world = World()
        run = world.dropped_run()
        world.on_machine_changed("i-1", alive=True)
        world.trainer_says(run, "interrupted", "Spot notice; saved step 14.")
        world.machine_ends(run)
        now = world.ledger.runs[run.run_id]
        assert (now.state, now.attempt, now.machine) == ("LAUNCHING", 2, "i-2")
        assert [stint.ended_at is not None for stint in now.stints] == [True, False]
        assert world.subjects == []

    def test_the_same_end_five_times_is_one_relaunch(self) -> None:
        world = World()
        run = world.dropped_run()
        world.machine_ends(run)
        for _ in range(4):
            world.on_machine_changed("i-1", alive=False)
        assert list(world.fleet.launched) == ["i-1", "i-2"]
        assert world.ledger.runs[run.run_id].attempt == 2

    def test_an_end_that_arrives_before_the_start_changes_nothing_else(self) -> None:
        world = World()
        run = world.dropped_run()
        world.machine_ends(run)
        world.on_machine_changed("i-1", alive=True)
        assert (world.state_of(run), world.ledger.runs[run.run_id].machine) == ("LAUNCHING", "i-2")

    def test_too_many_machines_fail_the_run_once(self) -> None:
        world = World(max_attempts=3)
        run = world.dropped_run()
        for _ in range(3):
            world.machine_ends(run)
        assert world.state_of(run) == "FAILED"
        assert len(world.fleet.launched) == 3
        assert len(world.subjects) == 1
        assert "3 machines ended" in world.notifier.mails[0].body

    def test_a_run_that_failed_says_so_in_the_trainers_own_words(self) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_says(run, "failed", "412 of 900 rows (45.8 %) were refused; the limit is 5 %.")
        world.machine_ends(run)
        assert world.state_of(run) == "FAILED"
        assert world.subjects == [f"Tidegate: run failed in dataset default ({run.run_id})"]
        assert "Why: 412 of 900 rows (45.8 %) were refused; the limit is 5 %." in world.notifier.mails[0].body
        assert list(world.fleet.launched) == ["i-1"]

    @pytest.mark.parametrize(("cause", "cap"), [("cost", "MaxRunCost"), ("hours", "MaxRunHours")])
    def test_a_run_that_reached_its_cap_fails_and_says_what_to_raise(self, cause: str, cap: str) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_says(run, "stopped", "This run's $5.00 are used up; saved step 20.", cause=cause)
        world.machine_ends(run)
        assert world.state_of(run) == "FAILED"
        assert f"saved step 20. To let it go further, raise {cap}" in world.notifier.mails[0].body
        assert list(world.fleet.launched) == ["i-1"]

    def test_a_strangers_machine_is_nobodys_business(self) -> None:
        world = World()
        world.dropped_run()
        assert world.on_machine_changed("i-of-somebody-else", alive=False) == "nothing to do"
