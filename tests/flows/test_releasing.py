"""Images and models become releases; ECS's own state settles them; a person is told once."""

from __future__ import annotations

import pytest
from controlplane.domain.images import Push
from controlplane.domain.rollout import Rollout
from controlplane.domain.service_view import ServiceView

from tests.flows.fakes import FakeService
from tests.flows.world import World


def served(world: World) -> tuple[str | None, str | None]:
    serving = world.ledger.rollout().serving
    assert serving
    return serving.image, serving.model


def rolled_out(world: World, tag: str) -> Push:
    push = world.push(tag)
    world.on_deployment_changed(world.service.completes())
    return push


def test_a_push_rolls_and_serves_and_is_told() -> None:
    world = World()
    push = world.push("v1")
    assert world.service.primary.release == 1
    world.on_deployment_changed(None)
    assert world.ledger.rollout().serving is None
    world.on_deployment_changed(world.service.completes())
    assert served(world) == (push.digest, None)
    assert world.subjects == ["Tidegate: release 1 serves"]


def test_the_same_push_five_times_is_one_deployment() -> None:
    world = World()
    push = world.push("v1")
    for _ in range(4):
        world.on_image_pushed(push)
    assert world.service.made == 1
    rollout = world.ledger.rollout()
    assert (rollout.count, rollout.waiting) == (1, None)


def test_the_same_completion_five_times_is_told_once() -> None:
    world = World()
    world.push("v1")
    ended = world.service.completes()
    for _ in range(5):
        world.on_deployment_changed(ended)
    assert world.subjects == ["Tidegate: release 1 serves"]


@pytest.mark.parametrize("image_first", [True, False])
def test_an_image_and_a_model_swapped_end_in_the_same_release(*, image_first: bool) -> None:
    world = World()
    if image_first:
        push = rolled_out(world, "v1")
        run = world.promoted()
    else:
        run = world.promoted()
        push = world.push("v1")
    world.on_deployment_changed(world.service.completes())
    assert served(world) == (push.digest, run.run_id)


def test_two_pushes_swapped_while_nothing_else_rolls_leave_one_of_them_rolling_and_one_waiting() -> None:
    world = World()
    first, second = world.push("v1", told=False), world.push("v2", told=False)
    world.on_image_pushed(second)
    world.on_image_pushed(first)
    assert world.service.made == 1
    world.on_deployment_changed(world.service.completes())
    world.on_deployment_changed(world.service.completes())
    assert served(world)[0] == first.digest
    assert world.subjects == ["Tidegate: release 1 serves", "Tidegate: release 2 serves"]


def test_the_newest_waiting_is_next_and_the_others_are_never_deployed() -> None:
    world = World()
    for tag in ("v1", "v2", "v3"):
        world.push(tag)
    world.on_deployment_changed(world.service.completes())
    assert world.service.primary.release == 3
    assert world.ledger.releases[2].state == "RETIRED"
    assert world.service.made == 2


def test_a_release_that_falls_is_taken_back_and_told_with_ecs_own_reason() -> None:
    world = World()
    good = rolled_out(world, "v1")
    world.push("v2")
    fallen = world.service.breaks("ECS deployment circuit breaker: tasks failed to start.")
    world.on_deployment_changed(fallen)
    assert served(world)[0] == good.digest
    assert world.ledger.releases[2].state == "ROLLED_BACK"
    assert world.subjects[-1] == "Tidegate: release 2 rolled back"
    assert "tasks failed to start" in world.notifier.mails[-1].body
    world.on_deployment_changed(world.service.completes())
    assert (world.ledger.rollout().rolling, served(world)[0]) == (None, good.digest)
    assert world.subjects[2:] == ["Tidegate: release 1 serves again"]


def test_a_first_release_that_falls_leaves_the_placeholder_and_the_next_push_rolls() -> None:
    world = World()
    world.push("v1")
    world.on_deployment_changed(world.service.breaks())
    assert world.ledger.rollout().serving is None
    world.on_deployment_changed(world.service.completes())
    push = rolled_out(world, "v2")
    assert served(world)[0] == push.digest


def test_a_release_that_fell_is_not_tried_again_by_itself() -> None:
    world = World()
    rolled_out(world, "v1")
    push = world.push("v2")
    world.on_deployment_changed(world.service.breaks())
    world.service.completes()
    world.on_image_pushed(push)
    world.on_reconcile_due()
    assert world.ledger.rollout().rolling is None
    assert world.service.primary.release == 1


def test_a_push_between_a_fall_and_its_event_does_not_deploy_the_fallen_release_again() -> None:
    world = World()
    rolled_out(world, "v1")
    world.push("v2")
    fallen = world.service.breaks()
    made = world.service.made
    world.push("v3")
    assert world.service.made == made
    world.on_deployment_changed(fallen)
    assert [world.ledger.releases[number].state for number in (2, 3)] == ["ROLLED_BACK", "PENDING"]
    world.on_deployment_changed(world.service.completes())
    assert [world.ledger.releases[number].state for number in (1, 3)] == ["SERVING", "ROLLING"]


def test_while_ecs_lags_behind_its_own_event_it_is_looked_at_again() -> None:
    world = World()
    world.push("v1")
    world.on_deployment_changed()
    world.service.completes()
    world.wait(seconds=10)
    assert world.subjects == ["Tidegate: release 1 serves"]


def test_the_end_of_a_foreign_deployment_changes_nothing() -> None:
    world = World()
    rolled_out(world, "v1")
    before = world.ledger.rollout()
    world.on_deployment_changed("ecs-svc/of-somebody-else")
    assert world.ledger.rollout() == before


def test_a_push_that_serves_already_under_a_new_tag_is_no_release() -> None:
    world = World()
    push = rolled_out(world, "v1")
    world.push("v1-again", of=push)
    assert world.service.made == 1


class OvertakenService(FakeService):
    """While ECS is being looked at, somebody pushes; the answer is from before that."""

    world: World

    def view(self) -> ServiceView:
        seen = super().view()
        if self.made == 1:
            self.world.push("v2")
        return seen


def test_a_release_that_starts_while_ecs_is_being_looked_at_is_not_taken_for_fallen() -> None:
    world = World()
    rolled_out(world, "v1")
    world.service.__class__ = OvertakenService
    world.service.world = world  # type: ignore[attr-defined]
    world.on_deployment_changed(None)
    world.on_reconcile_due()
    if world.service.made == 1:
        world.push("v2")
    assert [release.state for number, release in world.ledger.releases.items() if number == 2] == ["ROLLING"]
    assert "Tidegate: release 2 rolled back" not in world.subjects


def test_a_push_that_comes_while_another_writes_is_not_lost() -> None:
    world = World()
    read, pending = world.ledger.rollout, [world.push("v2", told=False)]

    def read_and_be_overtaken() -> Rollout:
        seen = read()
        if pending:
            world.on_image_pushed(pending.pop())
        return seen

    world.ledger.rollout = read_and_be_overtaken  # type: ignore[method-assign]
    world.push("v1")
    rollout = read()
    assert rollout.rolling and rollout.waiting
    assert {rollout.rolling.image, rollout.waiting.image} == {push.digest for push in world.images.pushes}
