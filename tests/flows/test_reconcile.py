"""What best-effort events missed is found again, both ways; what is in order is left alone."""

from __future__ import annotations

import pytest
from controlplane.domain.drops import Drop
from controlplane.domain.probes import Proof, Verdict
from controlplane.domain.runs import Run
from controlplane.domain.service_view import ServiceView

from tests.flows import wired
from tests.flows.test_releasing import rolled_out
from tests.flows.world import BAD, World


def test_when_all_is_in_order_nothing_is_done() -> None:
    world = World()
    world.promoted()
    rolled_out(world, "v1")
    world.clock.forward(minutes=10)
    before = world.ledger.history.copy()
    assert world.on_reconcile_due() == []
    assert world.ledger.history == before


class TestBatches:
    def test_a_batch_whose_timer_was_lost_settles(self) -> None:
        world = World()
        world.drop()
        world.timer.rings.clear()
        world.clock.forward(minutes=5)
        world.on_reconcile_due()
        assert world.run.machine == "i-1"

    def test_a_batch_whose_timer_may_still_ring_is_left_to_it(self) -> None:
        world = World()
        world.drop()
        world.clock.forward(seconds=90)
        world.on_reconcile_due()
        assert world.ledger.runs == {}

    def test_refused_drops_of_such_a_batch_are_told(self) -> None:
        world = World()
        world.drop("raw/bad.csv", BAD)
        world.timer.rings.clear()
        world.clock.forward(minutes=5)
        world.on_reconcile_due()
        assert world.subjects == ["Tidegate: 1 file refused in dataset default"]


class TestRuns:
    def test_a_run_whose_machine_vanished_goes_on_elsewhere(self) -> None:
        world = World()
        run = world.dropped_run()
        world.fleet.gone.add("i-1")
        world.clock.forward(minutes=5)
        world.on_reconcile_due()
        now = world.ledger.runs[run.run_id]
        assert (now.attempt, now.machine) == (2, "i-2")

    def test_a_machine_that_ec2_does_not_show_yet_is_waited_for(self) -> None:
        world = World()
        run = world.dropped_run()
        world.fleet.gone.add("i-1")
        world.clock.forward(minutes=1)
        world.on_reconcile_due()
        assert world.ledger.runs[run.run_id].machine == "i-1"

    def test_a_machine_that_came_up_unheard_trains(self) -> None:
        world = World()
        run = world.dropped_run()
        world.on_reconcile_due()
        assert world.ledger.runs[run.run_id].state == "TRAINING"

    def test_a_model_whose_event_was_lost_is_judged_and_served(self) -> None:
        world = World()
        rolled_out(world, "v1")
        run = world.dropped_run()
        world.trainer_publishes(run)
        world.fleet.gone.add("i-1")
        world.clock.forward(minutes=5)
        world.on_reconcile_due()
        assert world.ledger.champion("default") == run.run_id
        rolling = world.ledger.rollout().rolling
        assert rolling and rolling.model == run.run_id
        assert list(world.fleet.launched) == ["i-1"]

    def test_a_run_that_waited_for_a_lost_timer_is_launched(self) -> None:
        world = World()
        world.drop()
        world.wait(seconds=61)
        run = world.run
        world.ledger.runs[run.run_id] = run.waits_again("none")
        world.ledger.runs_queue = world.ledger.runs_queue.back_to_waiting(run)
        world.on_reconcile_due()
        assert world.ledger.runs[run.run_id].machine == "i-2"


def looked_at_twice(world: World) -> None:
    for _ in range(2):
        world.clock.forward(minutes=5)
        world.on_reconcile_due()


class TestOrphans:
    def test_a_machine_without_a_run_is_ended_at_the_second_look_and_told(self) -> None:
        world = World()
        world.fleet.boot("unknown-1")
        world.on_reconcile_due()
        assert world.fleet.gone == set()
        assert world.ledger.history[-1].now == "SUSPECTED"
        world.clock.forward(minutes=3)
        world.on_reconcile_due()
        assert world.fleet.gone == set(), "two looks right after each other are one"
        world.clock.forward(minutes=2)
        world.on_reconcile_due()
        assert world.fleet.gone == {"i-1"}
        assert world.subjects == ["Tidegate: stray machine i-1 ended"]

    def test_a_suspect_that_has_a_run_after_all_is_cleared(self) -> None:
        world = World()
        world.fleet.boot("late-1")
        world.on_reconcile_due()
        assert set(world.ledger.suspects()) == {"i-1"}
        run = Run("late-1", "late", "sha256:0", world.clock.now)
        world.ledger.runs["late-1"] = run.claimed(world.clock.now)
        world.clock.forward(minutes=5)
        world.on_reconcile_due()
        assert world.fleet.gone == set() and world.ledger.suspects() == {}

    def test_a_suspect_that_ended_by_itself_is_forgotten(self) -> None:
        world = World()
        world.fleet.boot("unknown-1")
        world.on_reconcile_due()
        world.fleet.gone.add("i-1")
        world.clock.forward(minutes=5)
        assert world.on_reconcile_due() == []
        assert world.ledger.suspects() == {} and world.subjects == []

    def test_it_is_told_once(self) -> None:
        world = World()
        world.fleet.boot("unknown-1")
        for _ in range(3):
            looked_at_twice(world)
        assert len(world.subjects) == 1

    @pytest.mark.parametrize("ends", ["promoted", "failed"])
    def test_a_machine_that_outlives_its_run_is_ended(self, ends: str) -> None:
        world = World()
        run = world.dropped_run()
        if ends == "promoted":
            world.trainer_publishes(run)
            world.on_model_published(run.run_id)
        else:
            world.trainer_says(run, "failed", "No.")
            world.on_machine_changed("i-1", alive=False)
        looked_at_twice(world)
        assert world.fleet.gone == {"i-1"}

    def test_a_machine_that_tidies_up_after_its_run_is_left_alone(self) -> None:
        world = World()
        run = world.dropped_run()
        world.clock.forward(minutes=30)
        world.trainer_publishes(run)
        world.on_model_published(run.run_id)
        told = list(world.subjects)
        world.clock.forward(minutes=2)
        world.on_reconcile_due()
        assert world.fleet.gone == set() and world.subjects == told and world.ledger.suspects() == {}

    def test_a_machine_that_outlives_its_timer_is_ended(self) -> None:
        world = World()
        world.dropped_run()
        world.clock.forward(hours=4)
        looked_at_twice(world)
        assert world.fleet.gone == {"i-1"}

    def test_the_runs_own_machine_is_not_ended_before(self) -> None:
        world = World()
        world.dropped_run()
        world.clock.forward(hours=3)
        looked_at_twice(world)
        assert world.fleet.gone == set()

    def test_a_second_machine_of_a_run_is_ended(self) -> None:
        world = World()
        run = world.dropped_run()
        world.fleet.boot(run.run_id)
        looked_at_twice(world)
        assert world.fleet.gone == {"i-2"}

    def test_a_machine_that_ec2_took_back_but_never_took_is_ended(self) -> None:
        """Its run went on elsewhere when it was warned."""
        world = World()
        world.dropped_run()
        world.on_machine_warned("i-1")
        world.wait(seconds=21)
        assert world.run.machine == "i-2"
        looked_at_twice(world)
        assert world.fleet.gone == {"i-1"}

    def test_a_guard_that_was_lost_is_set_again_and_one_that_is_there_is_kept(self) -> None:
        world = World()
        world.dropped_run()
        first = dict(world.guard.schedules)
        world.clock.forward(hours=1)
        world.on_reconcile_due()
        assert world.guard.schedules == first
        world.guard.schedules.clear()
        world.on_reconcile_due()
        assert world.guard.schedules == first, "by when it was launched, not by when that was found"

    def test_a_machine_whose_launch_was_not_written_down_is_adopted(self) -> None:
        world = World()
        run = world.dropped_run()
        world.ledger.runs[run.run_id] = world.ledger.runs[run.run_id].claimed(world.clock.now)
        assert world.run.machine is None
        world.ledger.runs[run.run_id] = run.__class__(**{**run.__dict__, "machine": None, "stints": ()})
        world.clock.forward(minutes=5)
        world.on_reconcile_due()
        assert world.fleet.gone == set()
        assert world.run.machine == "i-1"
        assert world.subjects == []


class TestReleases:
    def test_an_image_whose_push_was_not_told_is_rolled_out(self) -> None:
        world = World()
        push = world.push("v1", told=False)
        world.on_reconcile_due()
        rolling = world.ledger.rollout().rolling
        assert rolling and rolling.image == push.digest

    def test_only_the_newest_such_image_is(self) -> None:
        world = World()
        world.push("v1", told=False)
        newest = world.push("v2", told=False)
        world.push("latest", told=False)
        world.on_reconcile_due()
        rollout = world.ledger.rollout()
        assert rollout.rolling and rollout.rolling.image == newest.digest
        assert rollout.waiting is None

    def test_the_event_that_comes_after_all_changes_nothing(self) -> None:
        world = World()
        push = world.push("v1", told=False)
        world.on_reconcile_due()
        world.on_image_pushed(push)
        assert world.service.made == 1

    def test_a_completion_that_was_not_told_is_settled(self) -> None:
        world = World()
        world.push("v1")
        world.service.completes()
        world.on_reconcile_due()
        assert world.ledger.rollout().serving is not None
        assert world.subjects == ["Tidegate: release 1 serves"]

    def test_a_service_that_left_what_serves_is_brought_back(self) -> None:
        world = World()
        world.push("v1")
        world.service.completes()
        world.on_reconcile_due()
        changed_by_somebody(world, None)
        world.on_reconcile_due()
        assert world.service.primary.release == 1
        assert world.subjects[1:] == ["Tidegate: the service had left release 1"]
        assert world.ledger.history[-1].why == "the service carries the placeholder, which nobody proposed"
        world.service.completes()
        for _ in range(2):
            world.on_reconcile_due()
        assert world.service.made == 3
        assert world.subjects[2:] == ["Tidegate: release 1 serves again"]

    def test_the_tasks_of_what_is_brought_back_prove_themselves(self) -> None:
        world = World()
        rolled_out(world, "v1")
        changed_by_somebody(world, None)
        world.prober.says[1] = Proof(Verdict.DISAGREES, "2 of 32 rows got another label")
        world.on_reconcile_due()
        world.service.completes()
        world.on_reconcile_due()
        assert world.subjects[-1] == "Tidegate: release 1 did not come back"

    def test_what_does_not_come_back_is_tried_again_after_longer_and_longer_pauses(self) -> None:
        world = World()
        rolled_out(world, "v1")
        changed_by_somebody(world, None)
        tried = []
        for minute in range(0, 120, 5):
            world.on_reconcile_due()
            if world.service.primary.release == 1:
                tried.append(minute)
                world.service.breaks()
            world.clock.forward(minutes=5)
        assert tried == [0, 5, 20, 55]
        assert len(set(world.ledger.noted)) == len(world.subjects) == 1 + 2 * 4

    def test_a_push_that_starts_while_the_service_is_looked_at_is_not_overrun(self) -> None:
        world = World()
        rolled_out(world, "v1")
        changed_by_somebody(world, None)
        look, pushed = world.service.view, [world.push("v2", told=False)]

        def look_and_be_overtaken() -> ServiceView:
            if pushed:
                world.on_image_pushed(pushed.pop())
            return look()

        world.service.view = look_and_be_overtaken  # type: ignore[method-assign]
        wired.releasing(world).restore()
        assert world.service.primary.release == 2
        assert world.ledger.releases[2].state == "ROLLING"

    def test_a_fall_that_was_not_told_is_settled(self) -> None:
        world = World()
        rolled_out(world, "v1")
        world.push("v2")
        world.service.breaks()
        world.on_reconcile_due()
        assert world.ledger.releases[2].state == "ROLLED_BACK"


def changed_by_somebody(world: World, release: int | None) -> None:
    """UpdateService, by somebody else than the control plane."""
    world.service._start(release)
    world.service.completes()


def test_one_thing_that_goes_wrong_does_not_keep_the_rest_from_being_looked_at() -> None:
    world = World()
    world.drop("raw/a/a.csv")
    world.push("v1", told=False)
    world.timer.rings.clear()
    world.clock.forward(minutes=5)

    def broken(dataset: str) -> list[tuple[str, str]]:
        raise RuntimeError(f"S3 does not answer for {dataset}")

    world.bucket.present = broken  # type: ignore[method-assign]
    with pytest.raises(ExceptionGroup, match="S3 does not answer|nothing else|release"):
        world.on_reconcile_due()
    assert world.ledger.rollout().rolling is not None


def test_a_drop_below_a_nameless_folder_is_trained_on() -> None:
    world = World()
    world.drop("raw//x.csv")
    world.wait(seconds=61)
    assert world.run.dataset == Drop("raw//x.csv", "", 0).dataset
    assert world.run.machine == "i-1"
