"""Tasks that were up and crash take their release back, without an alarm; once, and told truly."""

from __future__ import annotations

from controlplane.domain.failures import FailedTask

from tests.flows.test_releasing import rolled_out, served
from tests.flows.test_settling import state
from tests.flows.world import World, crash

DEAD = FailedTask("t", "EssentialContainerExited", "Essential container in task exited", 7, ("the cache is full",))


def of_two_releases() -> World:
    world = World()
    for tag in ("v1", "v2"):
        rolled_out(world, tag)
    world.failed_tasks.known[2] = DEAD
    return world


def test_while_it_rolls_it_falls_with_its_last_words() -> None:
    world = World()
    rolled_out(world, "v1")
    world.push("v2")
    world.failed_tasks.known[2] = DEAD
    crash(world, 2, tasks=1)
    world.on_deployment_changed()
    assert state(world, 2) == "ROLLING", "one may be chance"
    crash(world, 2, tasks=1)
    for _ in range(3):
        world.on_deployment_changed()
    assert (state(world, 2), world.service.primary.release, world.service.made) == ("ROLLED_BACK", 1, 3)
    body = world.notifier.mails[-1].body
    assert "a task that crashed: 2 tasks of release 2 were up and ended by themselves. Task t2-c1: " in body
    assert "exit code 7" in body and "  | the cache is full" in body
    world.on_deployment_changed(world.service.completes())
    assert world.subjects[-2:] == ["Tidegate: release 2 rolled back", "Tidegate: release 1 serves again"]


def test_soon_after_it_serves_image_and_model_of_the_one_before_go_out_again_once() -> None:
    world = of_two_releases()
    crash(world, 2)
    for _ in range(3):
        world.on_deployment_changed()
        world.on_reconcile_due()
    world.on_deployment_changed(world.service.completes())
    first = world.ledger.releases[1]
    assert (served(world), world.service.made) == ((first.image, first.model), 3)
    assert world.ledger.rollout().serving.takes_back == 2  # type: ignore[union-attr]
    assert world.subjects.count("Tidegate: tasks of release 2 crash") == 1
    [mail] = [mail for mail in world.notifier.mails if mail.subject == "Tidegate: tasks of release 2 crash"]
    assert "2 tasks of release 2 were up and ended by themselves" in mail.body
    assert "exit code 7" in mail.body and "  | the cache is full" in mail.body
    assert "Going back from release 2 to image and model of release 1." in mail.body


def test_an_event_that_never_came_is_made_up_for_by_the_reconciler() -> None:
    world = of_two_releases()
    crash(world, 2)
    world.wait(minutes=4)
    world.on_reconcile_due()
    assert world.ledger.rollout().rolling.takes_back == 2  # type: ignore[union-attr]


def test_the_way_back_that_crashes_too_takes_nothing_back_and_is_told_once_a_day() -> None:
    world = of_two_releases()
    crash(world, 2)
    world.on_deployment_changed()
    crash(world, 3)
    world.on_deployment_changed(world.service.completes())
    for _ in range(5):
        crash(world, 3)
        world.on_deployment_changed()
        world.on_reconcile_due()
    assert (world.service.made, world.ledger.rollout().serving.number) == (3, 3)  # type: ignore[union-attr]
    [mail] = [mail for mail in world.notifier.mails if mail.subject == "Tidegate: tasks of release 3 crash"]
    assert "itself a rollback" in mail.body


def test_after_the_bake_it_is_told_once_a_day_and_nothing_is_done() -> None:
    world = of_two_releases()
    world.wait(minutes=31)
    for _ in range(4):
        crash(world, 2)
        world.on_deployment_changed()
    assert world.service.made == 2
    told = [mail for mail in world.notifier.mails if mail.subject == "Tidegate: tasks of release 2 crash"]
    assert len(told) == 1 and "has served well for longer" in told[0].body
    world.failed_tasks.ended.clear()
    world.wait(hours=24)
    crash(world, 2)
    world.on_deployment_changed()
    assert world.subjects.count("Tidegate: tasks of release 2 crash") == 2


def test_a_first_release_that_crashes_has_nothing_to_go_back_to() -> None:
    world = World()
    rolled_out(world, "v1")
    crash(world, 1)
    world.on_deployment_changed()
    assert (world.service.made, world.subjects[-1]) == (1, "Tidegate: tasks of release 1 crash")
    assert "there is no release to go back to" in world.notifier.mails[-1].body


def test_a_release_that_took_its_place_meanwhile_is_left_alone() -> None:
    world = of_two_releases()
    crash(world, 2)
    rolled_out(world, "v3")
    world.on_deployment_changed()
    assert world.ledger.rollout().serving.number == 3 and world.ledger.rollout().rolling is None  # type: ignore[union-attr]
