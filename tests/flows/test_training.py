"""A batch that settled becomes a run, the run gets a machine, and those that wait get it in turn."""

from __future__ import annotations

import pytest
from controlplane.domain.prices import PriceList
from controlplane.domain.runs import CLAIM_LEASE, Run
from controlplane.ports import Conflict, TryAgain

from tests.flows import wired
from tests.flows.fakes import BAD_REQUEST, NO_CAPACITY, Ring
from tests.flows.fuse import Killed
from tests.flows.world import OTHER, World


class TestLaunching:
    def test_the_same_timer_five_times_is_one_run_one_machine(self) -> None:
        world = World()
        world.drop()
        [ring] = world.timer.rings
        world.wait(seconds=61)
        for _ in range(4):
            world.on_batch_settled(ring)
        assert len(world.ledger.runs) == 1
        assert list(world.fleet.launched) == ["i-1"]

    def test_a_machine_that_is_up_trains(self) -> None:
        world = World()
        run = world.dropped_run()
        world.on_machine_changed("i-1", alive=True)
        assert world.state_of(run) == "TRAINING"
        world.on_machine_changed("i-1", alive=True)
        assert world.state_of(run) == "TRAINING"

    def test_the_spec_names_the_exact_objects(self) -> None:
        world = World()
        world.drop("raw/a b+%20ñ.csv")
        world.wait(seconds=61)
        spec = world.bucket.specs[world.run.run_id]
        assert spec["snapshot"]["digest"] == world.run.digest
        assert [item["key"] for item in spec["snapshot"]["objects"]] == ["raw/a b+%20ñ.csv"]
        assert spec["champion"] is None

    def test_without_capacity_it_waits_and_asks_again_with_a_new_token(self) -> None:
        world = World()
        world.fleet.refusals = [NO_CAPACITY, NO_CAPACITY]
        run = world.dropped_run()
        assert world.state_of(run) == "QUEUED"
        world.wait(seconds=121)
        assert world.state_of(run) == "QUEUED"
        world.wait(seconds=241)
        assert world.state_of(run) == "LAUNCHING"
        assert list(world.fleet.answers) == [f"{run.run_id}-{attempt}" for attempt in (1, 2, 3)]
        assert list(world.fleet.launched) == ["i-1"]
        assert world.subjects == [f"Tidegate: run {run.run_id} waits for a machine"], "told once, not at every refusal"

    def test_a_fleet_that_is_refused_fails_the_run_and_says_what_to_do(self) -> None:
        world = World()
        world.fleet.refusals = [BAD_REQUEST]
        run = world.dropped_run()
        assert world.state_of(run) == "FAILED"
        assert len(world.subjects) == 1
        assert "What to do: Give TrainerAmi the name of an SSM parameter" in world.notifier.mails[0].body
        assert world.ledger.queue().active == world.ledger.queue().waiting == ()

    def test_a_failed_run_is_tried_again_when_its_data_is_dropped_again(self) -> None:
        """The alert says so."""
        world = World()
        world.fleet.refusals = [BAD_REQUEST]
        run = world.dropped_run()
        world.drop()
        world.wait(seconds=61)
        again = world.ledger.runs[f"{run.run_id}-2"]
        assert (again.state, again.machine, again.digest) == ("LAUNCHING", "i-1", run.digest)
        assert world.state_of(run) == "FAILED"

    def test_a_failed_run_whose_batch_event_comes_again_is_not_tried_again(self) -> None:
        world = World()
        world.fleet.refusals = [BAD_REQUEST]
        drop = world.drop()
        [ring] = world.timer.rings
        world.wait(seconds=61)
        for _ in range(4):
            world.on_data_dropped(drop)
            world.on_batch_settled(ring)
            world.wait(seconds=61)
        assert len(world.ledger.runs) == 1
        assert world.fleet.launched == {}

    def test_a_claim_whose_function_died_is_taken_up_when_its_lease_is_over(self) -> None:
        world = World()
        world.drop()
        world.clock.forward(seconds=61)
        [ring] = world.timer.rings
        world.fleet.launch = _dies  # type: ignore[assignment, method-assign]
        with pytest.raises(Killed):
            world.on_batch_settled(ring)
        del world.fleet.launch
        world.on_batch_settled(ring)
        assert world.run.machine is None
        world.clock.forward(seconds=CLAIM_LEASE.total_seconds() + 1)
        world.on_batch_settled(ring)
        adopted = world.run
        assert (adopted.machine, adopted.attempt) == ("i-1", 1)

    def test_an_event_of_a_machine_whose_launch_is_not_written_down_yet_comes_again(self) -> None:
        world = World()
        world.drop()
        world.clock.forward(seconds=61)
        batch = world.ledger.batches["default"]
        wired.training(world).settle("default", batch.batch_id, world.clock.now, patience=wired.PATIENCE)
        run = wired.launching(world)._claim(world.run.run_id, PriceList())
        assert run
        world.fleet.launch(run)
        with pytest.raises(TryAgain):
            world.on_machine_changed("i-1", alive=True)

    def test_a_queue_that_another_function_moved_does_not_delay_a_batch(self) -> None:
        world = World()
        world.drop()
        world.clock.forward(seconds=61)
        write = world.ledger.close
        failed: list[int] = []

        def overtaken_once(*args: object, **kwargs: object) -> None:
            if not failed:
                failed.append(1)
                raise Conflict("the queue was moved")
            write(*args, **kwargs)  # type: ignore[arg-type]

        world.ledger.close = overtaken_once  # type: ignore[method-assign]
        world.on_batch_settled(world.timer.rings[0])
        assert world.run.machine == "i-1"


class TestTheQueue:
    def test_one_active_run_a_dataset_and_the_next_when_it_ends(self) -> None:
        world = World(max_concurrent=5)
        first = world.dropped_run()
        second = world.dropped_run("raw/b.csv", OTHER)
        assert (world.state_of(second), list(world.fleet.launched)) == ("QUEUED", ["i-1"])
        world.trainer_publishes(first)
        world.on_model_published(first.run_id)
        assert world.state_of(second) == "LAUNCHING"
        assert world.bucket.specs[second.run_id]["champion"] == first.run_id

    def test_no_more_run_at_once_than_allowed(self) -> None:
        world = World(max_concurrent=2)
        runs = [world.dropped_run(f"raw/{name}/a.csv") for name in ("a", "b", "c")]
        assert [world.state_of(run) for run in runs] == ["LAUNCHING", "LAUNCHING", "QUEUED"]
        world.trainer_says(runs[0], "failed", "No.")
        world.machine_ends(runs[0])
        assert world.state_of(runs[2]) == "LAUNCHING"

    def test_one_that_finds_no_machine_leaves_its_place_to_nobody_behind_it(self) -> None:
        world = World(max_concurrent=1)
        world.fleet.refusals = [NO_CAPACITY]
        first = world.dropped_run("raw/a/a.csv")
        second = world.dropped_run("raw/b/a.csv")
        world.wait(seconds=121)
        assert (world.state_of(first), world.state_of(second)) == ("LAUNCHING", "QUEUED")

    def test_an_interrupted_run_keeps_its_slot(self) -> None:
        world = World(max_concurrent=1)
        first = world.dropped_run("raw/a/a.csv")
        second = world.dropped_run("raw/b/a.csv")
        world.machine_ends(first)
        assert (world.state_of(first), world.state_of(second)) == ("LAUNCHING", "QUEUED")

    def test_a_message_without_a_batch_only_looks_at_the_queue(self) -> None:
        world = World()
        world.on_batch_settled(Ring(world.clock.now))
        assert world.ledger.history == []


def _dies(run: Run) -> object:
    raise Killed(run.run_id)
