"""A person rolls back or lets a release go: it is a release like any other, and who and why are recorded."""

from __future__ import annotations

from typing import Any

import pytest
from controlplane.domain.images import Push
from controlplane.domain.releases import Release

from tests.flows.fakes import CLEAN, FOUND, PENDING
from tests.flows.world import World, alarm

ADA = "arn:aws:iam::000000000000:user/ada"


def served(world: World) -> tuple[str | None, str | None]:
    serving = world.ledger.rollout().serving
    assert serving
    return serving.image, serving.model


def two_releases() -> tuple[World, Push, Push]:
    """v1 with a model served, v2 with the same serves."""
    world = World()
    world.promoted()
    pushes = []
    for tag in ("v1", "v2"):
        pushes.append(world.push(tag))
        world.on_deployment_changed(world.service.completes())
    return world, pushes[0], pushes[1]


def decide(world: World, action: str = "roll_back", decision_id: str = "d1", **more: Any) -> dict[str, Any]:
    told = {"action": action, "release": None, "why": "It answers nonsense.", "by": ADA, "id": decision_id, **more}
    return world.on_person_decided(told)


class TestRollingBack:
    def test_returns_image_and_model_and_is_judged_like_any_release(self) -> None:
        world, first, _ = two_releases()
        before = served(world)
        assert decide(world)["done"]
        assert served(world) == before, "not before ECS says so"
        world.on_deployment_changed(world.service.completes())
        assert served(world) == (first.digest, before[1])
        assert world.subjects[-2:] == [
            "Tidegate: a person rolled back (release 3)",
            "Tidegate: release 3 serves",
        ]

    def test_is_recorded_as_who_and_why(self) -> None:
        world, _, _ = two_releases()
        decide(world)
        [line] = [line for line in world.ledger.history if line.subject == "release 3" and line.now == "PENDING"]
        assert line.why == f"{ADA}: It answers nonsense."
        mail = next(mail for mail in world.notifier.mails if "a person" in mail.subject)
        assert f"{ADA} decided: goes back from release 2" in mail.body
        assert "Why: It answers nonsense." in mail.body

    def test_that_fails_leaves_what_served(self) -> None:
        world, _, second = two_releases()
        decide(world)
        world.on_deployment_changed(world.service.breaks())
        world.service.completes()
        assert served(world)[0] == second.digest
        assert world.ledger.releases[3].state == "ROLLED_BACK"

    def test_what_was_left_is_not_tried_again_by_itself(self) -> None:
        world, first, _ = two_releases()
        decide(world)
        world.on_deployment_changed(world.service.completes())
        made = world.service.made
        for _ in range(3):
            world.clock.forward(minutes=5)
            world.on_reconcile_due()
        world.on_alarm_changed(alarm("errors-high", world.clock.now))
        assert (world.service.made, served(world)[0]) == (made, first.digest)

    def test_twice_goes_back_further_and_not_to_what_was_left(self) -> None:
        world, first, second = two_releases()
        third = world.push("v3")
        world.on_deployment_changed(world.service.completes())
        decide(world, decision_id="d1")
        world.on_deployment_changed(world.service.completes())
        assert served(world)[0] == second.digest
        world.clock.forward(minutes=11)
        decide(world, decision_id="d2")
        world.on_deployment_changed(world.service.completes())
        assert served(world)[0] == first.digest
        assert served(world)[0] != third.digest

    def test_asked_by_a_second_person_while_it_is_under_way_or_just_done_changes_nothing(self) -> None:
        world, first, _ = two_releases()
        decide(world, decision_id="of-ada")
        before, made = world.ledger.rollout(), world.service.made
        world.clock.forward(seconds=20)
        answer = decide(world, decision_id="of-bob")
        assert answer["done"] and "Already on its way: release 3 takes release 2 back" in answer["said"]
        assert "Already on its way" in decide(world, decision_id="dry", dry_run=True)["said"]
        world.on_deployment_changed(world.service.completes())
        world.clock.forward(minutes=1)
        assert "Already done: release 3 takes release 2 back" in decide(world, decision_id="of-bob-again")["said"]
        assert (world.ledger.rollout().count, world.service.made) == (before.count, made)
        assert (served(world)[0], world.subjects.count("Tidegate: a person rolled back (release 3)")) == (
            first.digest,
            1,
        )

    def test_of_two_people_who_decide_at_the_same_moment_one_is_told_of_the_other(self) -> None:
        world, first, _ = two_releases()
        read_releases, others = world.ledger.all_releases, ["of-bob"]

        def read_and_be_overtaken() -> Any:
            found = read_releases()
            if others:
                decide(world, decision_id=others.pop())
            return found

        world.ledger.all_releases = read_and_be_overtaken  # type: ignore[method-assign]
        assert "Already on its way: release 3" in decide(world, decision_id="of-ada")["said"]
        world.on_deployment_changed(world.service.completes())
        assert (served(world)[0], world.ledger.rollout().count, world.service.made) == (first.digest, 3, 3)

    def test_that_another_function_carries_on_meanwhile_is_answered_as_done(self) -> None:
        world, _, _ = two_releases()
        deploy, others = world.service.deploy, [world.on_deployment_changed]

        def deploy_and_be_overtaken(release: Release) -> str:
            deployment = deploy(release)
            if others:
                others.pop()()
            return deployment

        world.service.deploy = deploy_and_be_overtaken  # type: ignore[method-assign]
        assert decide(world)["done"]
        rolling = world.ledger.rollout().rolling
        assert rolling and rolling.deployment == world.service.primary.deployment_id

    def test_to_a_named_release(self) -> None:
        world, first, _ = two_releases()
        world.push("v3")
        world.on_deployment_changed(world.service.completes())
        decide(world, release=1)
        world.on_deployment_changed(world.service.completes())
        assert served(world)[0] == first.digest

    def test_that_a_push_overtakes_while_it_waits_is_told(self) -> None:
        world, _, _ = two_releases()
        world.push("v3")
        decide(world, release=1)
        world.push("v5")
        assert world.subjects[-1] == "Tidegate: release 4 was overtaken and does not roll out"
        body = world.notifier.mails[-1].body
        assert f"({ADA}: It answers nonsense.)" in body
        assert f"Release 5 (push {world.images.pushes[0].digest} v5) rolls out instead" in body
        assert "if not, roll back again" in body

    def test_that_a_new_model_overtakes_keeps_image_and_end(self) -> None:
        world, first, _ = two_releases()
        world.push("v3")
        decide(world, release=1)
        run = world.promoted("raw/b.csv", b"text,label\nfine,pos\nawful,neg\n")
        mail = next(mail for mail in world.notifier.mails if "overtaken" in mail.subject)
        assert "It has the image of release 4, and takes release 2 back too." in mail.body
        assert "Already on its way: release 5 takes release 2 back" in decide(world, decision_id="d2")["said"]
        world.on_deployment_changed(world.service.completes())
        world.on_deployment_changed(world.service.completes())
        assert served(world) == (first.digest, run.run_id)
        world.clock.forward(minutes=11)
        decide(world, decision_id="d3")
        rolling = world.ledger.rollout().rolling
        assert rolling and rolling.image == first.digest, "the model goes back, and not to what was taken back"

    def test_drops_what_is_held(self) -> None:
        world, _, _ = two_releases()
        world.scans.otherwise = PENDING
        push = world.push("v3")
        decide(world)
        assert world.ledger.releases[3].state == "RETIRED"
        world.scans.scans[push.digest] = FOUND
        world.on_reconcile_due()
        assert world.ledger.rollout().rolling

    def test_to_an_image_that_is_gone_is_refused_and_nothing_rolls(self) -> None:
        world, first, _ = two_releases()
        del world.images.manifests[first.digest]
        answer = decide(world)
        assert (answer["done"], world.ledger.rollout().rolling) == (False, None)
        assert "is not in the repository any more" in answer["said"]


class TestEveryDecision:
    def test_told_twice_is_one(self) -> None:
        world, _, _ = two_releases()
        decide(world)
        assert decide(world)["done"]
        world.on_deployment_changed(world.service.completes())
        decide(world)
        assert world.ledger.rollout().count == 3
        assert [subject for subject in world.subjects if "a person" in subject] == [
            "Tidegate: a person rolled back (release 3)"
        ]

    def test_tried_dry_changes_nothing(self) -> None:
        world, first, _ = two_releases()
        before = world.ledger.rollout()
        answer = decide(world, dry_run=True)
        assert (answer["done"], world.ledger.rollout()) == (False, before)
        assert answer["said"].startswith(f"Would do: goes back from release 2 to image {first.digest}")

    @pytest.mark.parametrize("told", [None, {}, {"action": "roll_back"}, [1], "now"])
    def test_that_is_wrong_is_answered_and_never_raised(self, told: object) -> None:
        world, _, _ = two_releases()
        before = world.ledger.rollout()
        answer = world.on_person_decided(told)
        assert (answer["done"], world.ledger.rollout()) == (False, before)


class TestLettingGo:
    def test_a_held_release_rolls_and_who_and_why_are_told(self) -> None:
        world, _, _ = two_releases()
        world.scans.otherwise = PENDING
        push = world.push("v3")
        assert decide(world, "release")["said"] == f"Done: release 3 is let go: image {push.digest}."
        world.on_image_scanned(push.digest, FOUND)
        world.on_deployment_changed(world.service.completes())
        assert served(world)[0] == push.digest
        assert "Tidegate: a person let a release go (release 3)" in world.subjects
        assert not [subject for subject in world.subjects if "refused" in subject]
        found = [subject for subject in world.subjects if "found" in subject]
        assert found == ["Tidegate: the scan of release 3's image found CRITICAL"], (
            "which nobody knew when it was let go"
        )

    def test_one_that_a_push_overtakes_while_it_waits_is_told(self) -> None:
        world, _, _ = two_releases()
        world.push("v3")
        world.scans.otherwise = PENDING
        world.push("v4")
        decide(world, "release")
        world.scans.otherwise = CLEAN
        world.push("v5")
        assert "Tidegate: release 4 was overtaken and does not roll out" in world.subjects
        assert "Push it again under a new tag" in world.notifier.mails[-1].body

    def test_one_that_gives_way_to_what_serves_is_told_so(self) -> None:
        world, _, second = two_releases()
        world.push("v3")
        world.scans.otherwise = PENDING
        world.push("v4")
        decide(world, "release")
        world.scans.otherwise = CLEAN
        world.on_deployment_changed(world.service.breaks())
        assert world.ledger.rollout().going_back
        world.push("v2-again", of=second)
        [mail] = [mail for mail in world.notifier.mails if "release 4 was overtaken" in mail.subject]
        assert "Nothing: what was there before was wanted again after it, so that stays." in mail.body
        assert "Nothing: its image and model serve" not in mail.body

    def test_one_that_its_scan_refused_rolls_anew(self) -> None:
        world, _, _ = two_releases()
        world.scans.otherwise = FOUND
        push = world.push("v3")
        assert world.ledger.releases[3].state == "FAILED"
        assert decide(world, "release", release=3)["done"]
        world.on_deployment_changed(world.service.completes())
        assert served(world)[0] == push.digest
        assert world.ledger.releases[4].overridden

    def test_is_good_for_once(self) -> None:
        world, first, _ = two_releases()
        world.scans.otherwise = FOUND
        push = world.push("v3")
        decide(world, "release", release=3)
        world.on_deployment_changed(world.service.completes())
        decide(world, decision_id="d2")
        world.on_deployment_changed(world.service.completes())
        world.push("v3-again", of=push)
        assert served(world)[0] != push.digest
        newest = max(world.ledger.releases)
        assert (world.ledger.releases[newest].state, world.ledger.releases[newest].image) == ("FAILED", push.digest)

    def test_one_of_another_platform_is_refused(self) -> None:
        world, _, _ = two_releases()
        world.push("v3", architecture="arm64")
        answer = decide(world, "release", release=3)
        assert (answer["done"], world.ledger.rollout().rolling) == (False, None)
