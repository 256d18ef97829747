"""An alarm is answered once, and people are told what was done."""

from __future__ import annotations

import pytest
from controlplane.domain.failures import FailedTask
from controlplane.domain.releases import Release
from controlplane.ports import TryAgain

from tests.flows.test_releasing import rolled_out, served
from tests.flows.world import World, alarm


def test_slow_answers_scale_once_however_often_the_event_comes() -> None:
    world = World()
    change = alarm("latency-high", world.clock.now)
    for _ in range(5):
        world.on_alarm_changed(change)
    assert world.service.desired == 3
    assert world.subjects == ["Tidegate: ALARM tidegate-latency-high"]
    assert "Scaled the service from 2 to 3 tasks." in world.notifier.mails[0].body


def test_at_the_ceiling_people_are_told_only() -> None:
    world = World()
    world.service.desired = 4
    world.on_alarm_changed(alarm("latency-high", world.clock.now))
    assert world.service.desired == 4
    assert "the most that are allowed" in world.notifier.mails[0].body


def test_errors_after_a_release_take_image_and_model_back_together() -> None:
    world = World()
    run = world.promoted()
    first = rolled_out(world, "v1")
    rolled_out(world, "v2")
    change = alarm("errors-high", world.clock.now)
    for _ in range(5):
        world.on_alarm_changed(change)
    world.on_deployment_changed(world.service.completes())
    assert served(world) == (first.digest, run.run_id)
    assert world.service.made == 3
    assert world.subjects.count("Tidegate: ALARM tidegate-errors-high") == 1


def test_a_rollback_never_triggers_itself() -> None:
    world = World()
    world.promoted()
    rolled_out(world, "v1")
    rolled_out(world, "v2")
    world.on_alarm_changed(alarm("errors-high", world.clock.now))
    world.on_deployment_changed(world.service.completes())
    world.clock.forward(minutes=1)
    world.on_alarm_changed(alarm("errors-high", world.clock.now))
    assert world.ledger.rollout().rolling is None
    assert "itself a rollback" in world.notifier.mails[-1].body


def test_when_ecs_hears_the_alarm_first_its_way_back_is_the_only_one() -> None:
    """With CANARY, LINEAR and BLUE_GREEN the service listens to the alarms itself."""
    world = World()
    world.promoted()
    good = rolled_out(world, "v1")
    world.push("v2")
    change = alarm("shift-errors-high", world.clock.now)
    fallen = world.service.breaks("an alarm rang")
    world.on_alarm_changed(change)
    world.on_deployment_changed(fallen)
    world.on_deployment_changed(world.service.completes())
    assert (served(world)[0], world.service.made) == (good.digest, 3)
    assert world.ledger.releases[2].state == "ROLLED_BACK"
    assert world.ledger.rollout().going_back is None
    assert world.subjects.count("Tidegate: release 1 serves again") == 1


class TestWhileAnotherFunctionSettlesWhatRolls:
    """The alarm is decided upon while release 2 rolls; it serves before that is written down."""

    def world(self) -> World:
        world = World()
        world.promoted()
        rolled_out(world, "v1")
        world.push("v2")
        world.clock.forward(seconds=30)
        return world

    def ends_well(self, world: World) -> None:
        assert "Going back from release 2 to image and model of release 1." in world.notifier.mails[-1].body
        assert not [mail for mail in world.notifier.mails if "Taking release 2" in mail.body]
        world.on_deployment_changed(world.service.completes())
        serving = world.ledger.rollout().serving
        assert serving and (serving.number, serving.takes_back) == (3, 2)

    def test_the_alarm_is_decided_upon_anew(self) -> None:
        world = self.world()
        look, served = world.failed_tasks.of, list[Release]()

        def look_and_be_overtaken(release: Release, task_id: str | None = None) -> FailedTask | None:
            if not served:
                served.append(release)
                world.on_deployment_changed(world.service.completes())
            return look(release, task_id)

        world.failed_tasks.of = look_and_be_overtaken  # type: ignore[method-assign]
        world.on_alarm_changed(alarm("errors-high", world.clock.now))
        self.ends_well(world)

    def test_so_it_is_when_the_first_function_failed_before_it_wrote(self) -> None:
        world = self.world()
        look, change = world.failed_tasks.of, alarm("errors-high", world.clock.now)

        def fail(release: Release, task_id: str | None = None) -> FailedTask | None:
            raise TryAgain(f"ECS says nothing of release {release.number}, task {task_id}")

        world.failed_tasks.of = fail  # type: ignore[method-assign]
        with pytest.raises(TryAgain):
            world.on_alarm_changed(change)
        world.failed_tasks.of = look  # type: ignore[method-assign]
        world.on_deployment_changed(world.service.completes())
        world.clock.forward(minutes=1)
        world.on_alarm_changed(change)
        self.ends_well(world)


def test_the_end_of_an_alarm_that_arrives_before_its_begin_is_told_too() -> None:
    world = World()
    begin = alarm("latency-high", world.clock.now)
    world.clock.forward(minutes=5)
    world.on_alarm_changed(alarm("latency-high", world.clock.now, "OK", "ALARM"))
    world.on_alarm_changed(begin)
    assert world.subjects == ["Tidegate: OK tidegate-latency-high", "Tidegate: ALARM tidegate-latency-high"]


def test_what_is_no_news_is_told_to_nobody() -> None:
    world = World()
    world.on_alarm_changed(alarm("latency-high", world.clock.now, "OK", "INSUFFICIENT_DATA"))
    assert world.subjects == []
    assert world.ledger.history == []
