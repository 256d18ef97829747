"""Whatever is pushed, in whatever order it is told: only an image that can run on the service rolls."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest
from controlplane.domain.images import IgnoredPush, Push
from controlplane.domain.scans import ScanPolicy
from controlplane.ports import TryAgain

from tests.flows.fakes import NOON, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, child_digest
from tests.flows.wired import REPOSITORY
from tests.flows.world import World

HELM = "application/vnd.cncf.helm.config.v1+json"


def serving(world: World) -> str | None:
    release = world.ledger.rollout().serving
    return release.image if release else None


def rolled_out(world: World, tag: str) -> Push:
    push = world.push(tag)
    world.on_deployment_changed(world.service.completes())
    return push


class TestAMultiPlatformPush:
    def test_rolls_the_image_of_the_services_platform_and_serves(self) -> None:
        world = World()
        push = world.push("v1", index=["arm64", "amd64", "unknown"])
        world.on_deployment_changed(world.service.completes())
        assert serving(world) == child_digest(push, "amd64")

    def test_is_one_release_in_whatever_order_its_events_come(self) -> None:
        for order in permutations(range(4)):
            world = World()
            index = world.push("v1", index=["amd64", "arm64", "unknown"], told=False)
            events = [Push(index.repository, index.digest, "v1", OCI_INDEX)] + [
                Push(REPOSITORY, child_digest(index, architecture), "", OCI_MANIFEST, OCI_CONFIG)
                for architecture in ("amd64", "arm64", "unknown")
            ]
            ignored = 0
            for number in order:
                try:
                    world.on_image_pushed(events[number])
                except IgnoredPush:
                    ignored += 1
            assert (ignored, world.service.made, world.ledger.rollout().count) == (3, 1, 1)

    def test_without_the_platform_fails_before_anything_rolls(self) -> None:
        world = World()
        good = rolled_out(world, "v1")
        made = world.service.made
        world.push("v2", index=["arm64", "unknown"])
        assert (world.service.made, serving(world)) == (made, good.digest)
        assert world.ledger.releases[2].state == "FAILED"
        assert "The index holds linux/arm64, and the service runs X86_64." in world.notifier.mails[-1].body

    def test_of_the_image_that_serves_already_is_no_release(self) -> None:
        world = World()
        first = world.push("v1", index=["amd64"])
        world.on_deployment_changed(world.service.completes())
        world.push("v1-again", of=first)
        assert (world.service.made, world.ledger.rollout().rolling) == (1, None)


class TestAnImageOfAnotherPlatform:
    def test_fails_before_anything_rolls_and_is_told_once(self) -> None:
        world = World()
        good = rolled_out(world, "v1")
        made = world.service.made
        push = world.push("v2", architecture="arm64")
        world.on_image_pushed(push)
        world.on_reconcile_due()
        assert (world.service.made, serving(world), world.ledger.rollout().rolling) == (made, good.digest, None)
        assert world.subjects[1:] == ["Tidegate: release 2 refused"]
        body = world.notifier.mails[-1].body
        assert (
            "Why: The image is linux/arm64, and the service runs X86_64. Build it with --platform linux/amd64" in body
        )
        assert f"Release 1 serves (image {good.digest}" in body

    def test_leaves_what_rolls_and_the_next_push_rolls(self) -> None:
        world = World()
        world.push("v1")
        world.push("v2", architecture="arm64")
        good = world.push("v3")
        for _ in range(2):
            world.on_deployment_changed(world.service.completes())
        assert serving(world) == good.digest
        assert [release.state for release in world.ledger.releases.values()] == ["RETIRED", "FAILED", "SERVING"]


class TestAnEventThatComesLate:
    @staticmethod
    def at(push: Push, second: int) -> Push:
        return replace(push, at=NOON + timedelta(seconds=second))

    def test_after_that_of_a_later_push_is_ignored(self) -> None:
        world = World()
        first, second = world.push("v1", told=False), world.push("v2", told=False)
        world.on_image_pushed(self.at(second, 10))
        with pytest.raises(IgnoredPush, match="came late"):
            world.on_image_pushed(self.at(first, 5))
        world.on_deployment_changed(world.service.completes())
        assert (serving(world), world.ledger.rollout().count) == (second.digest, 1)

    def test_after_that_of_a_later_push_that_was_refused_is_ignored_too(self) -> None:
        world = World()
        first, second = world.push("v1", told=False), world.push("v2", told=False, architecture="arm64")
        world.on_image_pushed(self.at(second, 10))
        with pytest.raises(IgnoredPush, match="came late"):
            world.on_image_pushed(self.at(first, 5))

    @pytest.mark.parametrize("policy", list(ScanPolicy))
    def test_of_the_same_second_or_in_order_is_taken(self, policy: ScanPolicy) -> None:
        world = World()
        world.scan_policy = policy
        pushes = [world.push(tag, told=False) for tag in ("v1", "v2", "v3")]
        for push, second in zip(pushes, (10, 10, 11), strict=True):
            world.on_image_pushed(self.at(push, second))
        assert world.ledger.rollout().count == 3

    def test_told_again_after_a_later_one_is_the_same_push_still(self) -> None:
        world = World()
        first, second = world.push("v1", told=False), world.push("v2", told=False)
        for push, second_of in ((first, 5), (second, 10), (first, 5)):
            world.on_image_pushed(self.at(push, second_of))
        assert world.ledger.rollout().count == 2


class TestWhatIsNoImage:
    def test_is_ignored_with_its_kind(self) -> None:
        world = World()
        with pytest.raises(IgnoredPush, match="helm"):
            world.push("v1", kind=HELM)
        assert world.ledger.rollout().count == 0

    def test_does_not_hide_an_image_whose_event_never_came(self) -> None:
        world = World()
        image = world.push("v1", told=False)
        world.push("v2", told=False, kind=HELM)
        world.on_reconcile_due()
        rolling = world.ledger.rollout().rolling
        assert rolling and rolling.image == image.digest

    def test_that_is_gone_by_now_is_ignored(self) -> None:
        world = World()
        push = world.push("v1", told=False)
        del world.images.manifests[push.digest]
        with pytest.raises(IgnoredPush, match="not in the repository"):
            world.on_image_pushed(push)


def test_while_ecr_does_not_answer_nothing_is_guessed_and_the_event_comes_again() -> None:
    world = World()
    world.images.silent = True
    with pytest.raises(TryAgain):
        world.push("v1")
    assert world.ledger.rollout().count == 0
    world.images.silent = False
    world.on_image_pushed(world.images.pushes[0])
    assert world.ledger.rollout().rolling


class TestAnOldImageUnderANewTag:
    def test_that_served_before_is_deployed_again(self) -> None:
        world = World()
        first = rolled_out(world, "v1")
        rolled_out(world, "v2")
        world.push("v1-again", of=first)
        world.on_deployment_changed(world.service.completes())
        assert serving(world) == first.digest

    def test_that_failed_before_is_tried_again_because_a_person_said_so(self) -> None:
        world = World()
        rolled_out(world, "v1")
        bad = world.push("v2")
        world.on_deployment_changed(world.service.breaks())
        world.on_deployment_changed(world.service.completes())
        world.push("v2-again", of=bad)
        rolling = world.ledger.rollout().rolling
        assert rolling and rolling.image == bad.digest

    @pytest.mark.parametrize("times", [2, 5])
    def test_told_several_times_is_one_release(self, times: int) -> None:
        world = World()
        first = rolled_out(world, "v1")
        rolled_out(world, "v2")
        again = world.push("v1-again", of=first)
        for _ in range(times):
            world.on_image_pushed(again)
        assert world.ledger.rollout().count == 3

    def test_that_was_never_told_is_found_at_the_next_look(self) -> None:
        world = World()
        first = rolled_out(world, "v1")
        rolled_out(world, "v2")
        world.on_reconcile_due()
        world.push("v1-again", of=first, told=False)
        world.on_reconcile_due()
        rolling = world.ledger.rollout().rolling
        assert rolling and rolling.image == first.digest


class TestALook:
    def test_does_not_deploy_again_what_a_rollback_left(self) -> None:
        world = World()
        rolled_out(world, "v1")
        world.on_reconcile_due()
        world.push("v2", told=False)
        world.on_reconcile_due()
        world.on_deployment_changed(world.service.breaks())
        world.service.completes()
        made = world.service.made
        for _ in range(3):
            world.clock.forward(minutes=5)
            world.on_reconcile_due()
        assert (world.service.made, world.ledger.rollout().rolling) == (made, None)

    def test_keeps_to_the_same_rules_as_the_event(self) -> None:
        world = World()
        rolled_out(world, "v1")
        world.push("v2", told=False, architecture="arm64")
        world.on_reconcile_due()
        assert world.subjects[-1] == "Tidegate: release 2 refused"

    def test_that_finds_ecr_silent_finds_the_push_at_the_next(self) -> None:
        world = World()
        push = world.push("v1", told=False)
        world.images.silent = True
        with pytest.raises(ExceptionGroup):
            world.on_reconcile_due()
        world.images.silent = False
        world.on_reconcile_due()
        rolling = world.ledger.rollout().rolling
        assert rolling and rolling.image == push.digest
