"""From a settled batch to a verdict: capacity, attempts, interruptions, the gate, the queue."""

from __future__ import annotations

import pytest
from controlplane.domain.prices import PriceList
from controlplane.domain.runs import CLAIM_LEASE, Run, RunState
from controlplane.ports import Conflict, TryAgain

from tests.flows import wired
from tests.flows.fakes import BAD_REQUEST, NO_CAPACITY, Ring
from tests.flows.fuse import Killed
from tests.flows.world import World

OTHER = b"text,label\ngreat,pos\nawful,neg\n"


def state_of(world: World, run: Run) -> RunState:
    return world.ledger.runs[run.run_id].state


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
        assert state_of(world, run) == "TRAINING"
        world.on_machine_changed("i-1", alive=True)
        assert state_of(world, run) == "TRAINING"

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
        assert state_of(world, run) == "QUEUED"
        world.wait(seconds=121)
        assert state_of(world, run) == "QUEUED"
        world.wait(seconds=241)
        assert state_of(world, run) == "LAUNCHING"
        assert list(world.fleet.answers) == [f"{run.run_id}-{attempt}" for attempt in (1, 2, 3)]
        assert list(world.fleet.launched) == ["i-1"]
        assert world.subjects == [f"Tidegate: run {run.run_id} waits for a machine"], "told once, not at every refusal"

    def test_a_fleet_that_is_refused_fails_the_run_and_says_what_to_do(self) -> None:
        world = World()
        world.fleet.refusals = [BAD_REQUEST]
        run = world.dropped_run()
        assert state_of(world, run) == "FAILED"
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
        assert state_of(world, run) == "FAILED"

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
        assert (state_of(world, run), world.ledger.runs[run.run_id].machine) == ("LAUNCHING", "i-2")

    def test_too_many_machines_fail_the_run_once(self) -> None:
        world = World(max_attempts=3)
        run = world.dropped_run()
        for _ in range(3):
            world.machine_ends(run)
        assert state_of(world, run) == "FAILED"
        assert len(world.fleet.launched) == 3
        assert len(world.subjects) == 1
        assert "3 machines ended" in world.notifier.mails[0].body

    def test_a_run_that_failed_says_so_in_the_trainers_own_words(self) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_says(run, "failed", "412 of 900 rows (45.8 %) were refused; the limit is 5 %.")
        world.machine_ends(run)
        assert state_of(world, run) == "FAILED"
        assert world.subjects == [f"Tidegate: run failed in dataset default ({run.run_id})"]
        assert "Why: 412 of 900 rows (45.8 %) were refused; the limit is 5 %." in world.notifier.mails[0].body
        assert list(world.fleet.launched) == ["i-1"]

    @pytest.mark.parametrize(("cause", "cap"), [("cost", "MaxRunCost"), ("hours", "MaxRunHours")])
    def test_a_run_that_reached_its_cap_fails_and_says_what_to_raise(self, cause: str, cap: str) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_says(run, "stopped", "This run's $5.00 are used up; saved step 20.", cause=cause)
        world.machine_ends(run)
        assert state_of(world, run) == "FAILED"
        assert f"saved step 20. To let it go further, raise {cap}" in world.notifier.mails[0].body
        assert list(world.fleet.launched) == ["i-1"]

    def test_a_strangers_machine_is_nobodys_business(self) -> None:
        world = World()
        world.dropped_run()
        assert world.on_machine_changed("i-of-somebody-else", alive=False) == "nothing to do"


class TestModels:
    def test_the_first_model_that_beats_the_commonest_class_is_champion(self) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_publishes(run)
        world.on_model_published(run.run_id)
        assert state_of(world, run) == "PROMOTED"
        assert world.ledger.champion("default") == run.run_id
        assert world.subjects == [f"Tidegate: new champion in dataset default ({run.run_id})"]

    def test_the_same_manifest_five_times_is_one_verdict_and_one_alert(self) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_publishes(run)
        for _ in range(5):
            world.on_model_published(run.run_id)
        assert len(world.subjects) == 1
        assert [record.now for record in world.ledger.history].count("PROMOTED") == 1

    @pytest.mark.parametrize("model_first", [True, False])
    def test_a_published_model_wins_over_the_end_of_its_machine(self, *, model_first: bool) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_publishes(run)
        world.trainer_says(run, "trained", "Done.")
        if model_first:
            world.on_model_published(run.run_id)
            world.machine_ends(run)
        else:
            world.machine_ends(run)
            world.on_model_published(run.run_id)
        assert state_of(world, run) == "PROMOTED"
        assert list(world.fleet.launched) == ["i-1"]
        assert len(world.subjects) == 1

    def test_a_worse_challenger_is_refused_and_the_champion_stays(self) -> None:
        world = World()
        champion = world.promoted()
        worse = world.dropped_run("raw/b.csv", OTHER)
        assert world.bucket.specs[worse.run_id]["champion"] == champion.run_id
        world.trainer_publishes(worse, champion=champion.run_id, wins=20, losses=60, accuracy=0.76)
        world.on_model_published(worse.run_id)
        assert state_of(world, worse) == "REJECTED"
        assert world.ledger.champion("default") == champion.run_id
        assert world.subjects[-1] == f"Tidegate: challenger refused in dataset default ({worse.run_id})"
        assert world.ledger.rollout().model == champion.run_id

    def test_the_next_runs_data_is_compared_with_the_last_run_that_published_even_a_refused_one(self) -> None:
        world = World()
        champion = world.promoted()
        worse = world.dropped_run("raw/b.csv", OTHER)
        assert world.bucket.specs[worse.run_id]["baseline"] == champion.run_id
        world.trainer_publishes(worse, champion=champion.run_id, wins=20, losses=60, accuracy=0.76)
        world.on_model_published(worse.run_id)
        world.machine_ends(worse)
        third = world.dropped_run("raw/c.csv", b"text,label\nfine,pos\nawful,neg\n")
        assert world.bucket.specs[third.run_id]["baseline"] == worse.run_id
        assert world.bucket.specs[third.run_id]["champion"] == champion.run_id

    def test_a_better_challenger_replaces_it(self) -> None:
        world = World()
        world.promoted()
        better = world.promoted("raw/b.csv", OTHER)
        assert world.ledger.champion("default") == better.run_id

    def test_a_champion_of_another_dataset_leaves_what_serves(self) -> None:
        world = World(served_dataset="default")
        served = world.promoted()
        world.push("v1")
        other = world.promoted("raw/other/a.csv", OTHER)
        assert state_of(world, other) == "PROMOTED"
        assert world.ledger.champion("other") == other.run_id
        assert world.ledger.rollout().model == served.run_id
        assert world.ledger.rollout().waiting is None

    @pytest.mark.parametrize(
        ("field", "value", "why"),
        [
            ("run_id", "another", "another run"),
            ("dataset", "another", "another run"),
            ("snapshot_digest", "sha256:9", "another run"),
            ("contract", 2, "contract 2"),
            ("metrics", {}, "lacks"),
            ("created_at", "2026-01-01T12:00:00", "no time zone"),
            ("files", {"metrics.json": {"sha256": "forged"}}, "not the file that the manifest names"),
        ],
    )
    def test_a_manifest_that_cannot_be_believed_fails_the_run(self, field: str, value: object, why: str) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_publishes(run)
        world.bucket.manifests[run.run_id][field] = value
        world.on_model_published(run.run_id)
        assert state_of(world, run) == "FAILED"
        assert why in world.notifier.mails[0].body
        assert world.ledger.champion("default") is None

    @pytest.mark.parametrize(
        ("field", "value"),
        [("rows", {"accepted": 9, "rejected": 0, "train": None}), ("recipe", 7), ("data_shift", {"told": "much"})],
    )
    def test_one_whose_other_fields_cannot_be_shown_ends_the_run_all_the_same(self, field: str, value: object) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_publishes(run)
        world.bucket.manifests[run.run_id][field] = value
        world.on_model_published(run.run_id)
        assert state_of(world, run) == "PROMOTED"
        assert world.bucket.cards[run.run_id][0]["metrics"] is None

    def test_a_manifest_that_is_not_json_fails_the_run(self) -> None:
        world = World()
        run = world.dropped_run()
        world.bucket.manifests[run.run_id] = "not json"
        world.on_model_published(run.run_id)
        assert state_of(world, run) == "FAILED"

    def test_a_manifest_that_cannot_be_read_yet_comes_again(self) -> None:
        world = World()
        run = world.dropped_run()
        with pytest.raises(TryAgain):
            world.on_model_published(run.run_id)

    def test_a_model_of_no_run_is_ignored(self) -> None:
        world = World()
        world.on_model_published("unknown-1")
        assert world.ledger.history == []

    def test_a_run_that_failed_for_its_manifest_is_not_failed_again_by_the_same_one(self) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_publishes(run)
        world.bucket.manifests[run.run_id]["metrics"] = {}
        world.on_model_published(run.run_id)
        world.machine_ends(run)
        world.drop()
        world.wait(seconds=61)
        world.on_reconcile_due()
        again = world.ledger.runs[f"{run.run_id}-2"]
        assert again.state in {"LAUNCHING", "TRAINING"}


class TestTheQueue:
    def test_one_active_run_a_dataset_and_the_next_when_it_ends(self) -> None:
        world = World(max_concurrent=5)
        first = world.dropped_run()
        second = world.dropped_run("raw/b.csv", OTHER)
        assert (state_of(world, second), list(world.fleet.launched)) == ("QUEUED", ["i-1"])
        world.trainer_publishes(first)
        world.on_model_published(first.run_id)
        assert state_of(world, second) == "LAUNCHING"
        assert world.bucket.specs[second.run_id]["champion"] == first.run_id

    def test_no_more_run_at_once_than_allowed(self) -> None:
        world = World(max_concurrent=2)
        runs = [world.dropped_run(f"raw/{name}/a.csv") for name in ("a", "b", "c")]
        assert [state_of(world, run) for run in runs] == ["LAUNCHING", "LAUNCHING", "QUEUED"]
        world.trainer_says(runs[0], "failed", "No.")
        world.machine_ends(runs[0])
        assert state_of(world, runs[2]) == "LAUNCHING"

    def test_one_that_finds_no_machine_leaves_its_place_to_nobody_behind_it(self) -> None:
        world = World(max_concurrent=1)
        world.fleet.refusals = [NO_CAPACITY]
        first = world.dropped_run("raw/a/a.csv")
        second = world.dropped_run("raw/b/a.csv")
        world.wait(seconds=121)
        assert (state_of(world, first), state_of(world, second)) == ("LAUNCHING", "QUEUED")

    def test_an_interrupted_run_keeps_its_slot(self) -> None:
        world = World(max_concurrent=1)
        first = world.dropped_run("raw/a/a.csv")
        second = world.dropped_run("raw/b/a.csv")
        world.machine_ends(first)
        assert (state_of(world, first), state_of(world, second)) == ("LAUNCHING", "QUEUED")

    def test_a_message_without_a_batch_only_looks_at_the_queue(self) -> None:
        world = World()
        world.on_batch_settled(Ring(world.clock.now))
        assert world.ledger.history == []


def _dies(run: Run) -> object:
    raise Killed(run.run_id)
