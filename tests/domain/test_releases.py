"""What serves, rolls and waits: every order of images, models, good and bad ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from controlplane.domain.failures import FailedTask
from controlplane.domain.judging import judge
from controlplane.domain.probes import Proof, Verdict
from controlplane.domain.releases import Fate, Release, ReleaseState, Rollout, digests_known_to
from controlplane.domain.service_view import Deployment, RunningTask, ServiceView

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
AGREES = Proof(Verdict.AGREES)
V1, V2, V3 = ("sha256:" + letter * 64 for letter in "123")


def push(rollout: Rollout, image: str, tag: str = "v") -> Rollout:
    return rollout.propose(f"push {image} {tag}", NOON, image=image)[0]


def promote(rollout: Rollout, model: str) -> Rollout:
    return rollout.propose(f"model {model}", NOON, model=model)[0]


def roll(rollout: Rollout, deployment: str = "d1") -> Rollout:
    started, release = rollout.start(NOON)
    assert release and release.state is ReleaseState.ROLLING, release
    return started.deploying(deployment)


ROLLS_BACK = "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/1."


def seen(
    release: Release | None,
    *,
    rollout: str = "COMPLETED",
    others: tuple[Deployment, ...] = (),
    running: int = 2,
    digests: frozenset[str] | None = None,
    deployment: str | None = None,
    proof: Proof | None = AGREES,
    reason: str = "what ECS says",
) -> ServiceView:
    """ECS with this release as the primary deployment; what its tasks proved, all the same."""
    assert release and release.image
    primary = Deployment(deployment or release.deployment or "d?", release.number, True, rollout, reason)
    run = sorted(digests or {release.image})
    tasks = (RunningTask(f"t{number}", "", run[number % len(run)], proof) for number in range(running))
    return ServiceView((primary, *others), tuple(tasks), 2)


def settle(rollout: Rollout, view: ServiceView, now: datetime) -> tuple[Rollout, list[Release]]:
    """As the flow does: what is on its way is judged, and ends or goes on."""
    fate = judge(rollout.target, view, now, timedelta(minutes=30)) if rollout.target else None
    if fate and fate.again:
        return rollout.anew(), []
    return rollout.ended(fate, now) if fate else (rollout, [])


def serve(rollout: Rollout) -> Rollout:
    settled, changed = settle(rollout, seen(rollout.rolling), NOON)
    assert changed[0].state is ReleaseState.SERVING
    return settled


def serving_v1_m1() -> Rollout:
    return serve(roll(promote(push(Rollout(), V1), "m1")))


def what(release: Release | None) -> tuple[str | None, str | None]:
    assert release
    return release.image, release.model


class TestTheFirstRelease:
    def test_a_model_alone_waits_for_an_image(self) -> None:
        rollout = promote(Rollout(), "m1")
        assert (rollout.waiting, rollout.model) == (None, "m1")
        assert rollout.start(NOON) == (rollout, None)

    def test_a_model_first_then_an_image(self) -> None:
        assert what(roll(push(promote(Rollout(), "m1"), V1)).rolling) == (V1, "m1")

    def test_an_image_first_goes_without_a_model(self) -> None:
        assert what(roll(push(Rollout(), V1)).rolling) == (V1, None)

    def test_an_image_first_then_a_model(self) -> None:
        rollout = roll(promote(serve(roll(push(Rollout(), V1))), "m1"))
        assert what(rollout.rolling) == (V1, "m1")

    def test_an_image_and_a_model_before_anything_rolls_are_one_release(self) -> None:
        assert what(roll(promote(push(Rollout(), V1), "m1")).rolling) == (V1, "m1")

    def test_that_fails_leaves_nothing_serving(self) -> None:
        rollout = roll(push(Rollout(), V1))
        settled, changed = settle(rollout, seen(rollout.rolling, rollout="FAILED"), NOON)
        assert [release.state for release in changed] == [ReleaseState.FAILED]
        assert (settled.serving, settled.rolling) == (None, None)
        assert changed[0].reason == "ECS: what ECS says"

    def test_that_fails_gives_way_to_the_next_image(self) -> None:
        rollout = roll(push(Rollout(), V1))
        fallen, _ = settle(rollout, seen(rollout.rolling, rollout="FAILED"), NOON)
        waits = push(fallen, V2).deploying("d2")
        placeholder = RunningTask("t1", "", "sha256:placeholder"), RunningTask("t2", "", "sha256:placeholder")
        view = ServiceView((Deployment("d2", None, True, "IN_PROGRESS"),), placeholder, 2)
        assert settle(waits, view, NOON) == (waits, []), "the placeholder goes out again first"
        back, _ = settle(waits, replace(view, deployments=(Deployment("d2", None, True, "COMPLETED"),)), NOON)
        assert what(roll(back).rolling) == (V2, None)


class TestProposals:
    def test_the_same_cause_twice_is_one_proposal(self) -> None:
        rollout = push(Rollout(), V1)
        assert rollout.propose(f"push {V1} v", NOON, image=V1) == (rollout, [])

    def test_a_cause_stays_known_after_it_served(self) -> None:
        rollout = serving_v1_m1()
        assert push(rollout, V1) == rollout

    def test_one_rolls_at_a_time(self) -> None:
        rollout = push(roll(push(Rollout(), V1)), V2)
        assert rollout.start(NOON) == (rollout, None)
        assert what(rollout.waiting) == (V2, None)

    def test_the_newest_waiting_is_next_and_the_others_are_retired_unserved(self) -> None:
        rollout = push(roll(push(Rollout(), V1)), V2)
        rollout, changed = rollout.propose(f"push {V3} v", NOON, image=V3)
        assert [(release.image, release.state) for release in changed] == [
            (V2, ReleaseState.RETIRED),
            (V3, ReleaseState.PENDING),
        ]
        assert what(rollout.waiting) == (V3, None)

    def test_the_newest_keeps_the_other_half_of_an_older_proposal(self) -> None:
        rolling = roll(push(serving_v1_m1(), V2))
        waits_for_both = push(promote(rolling, "m2"), V3)
        assert what(waits_for_both.waiting) == (V3, "m2")
        assert what(promote(push(rolling, V3), "m2").waiting) == (V3, "m2")

    def test_what_is_left_open_comes_from_what_serves(self) -> None:
        assert what(roll(push(serving_v1_m1(), V2)).rolling) == (V2, "m1")
        assert what(roll(promote(serving_v1_m1(), "m2")).rolling) == (V1, "m2")

    def test_a_digest_that_serves_already_is_no_release(self) -> None:
        rollout = serving_v1_m1()
        again, changed = rollout.propose(f"push {V1} v1-again", NOON, image=V1)
        assert (again.waiting, changed) == (None, [])

    def test_going_back_to_what_serves_takes_the_waiting_one_away(self) -> None:
        rollout = push(serving_v1_m1(), V2)
        again, changed = rollout.propose("person", NOON, image=V1, model="m1")
        assert again.waiting is None
        assert [release.state for release in changed] == [ReleaseState.RETIRED]

    def test_what_rolls_already_is_retired_when_its_turn_comes(self) -> None:
        rollout = roll(push(serving_v1_m1(), V2))
        rollout = serve(push(rollout, V2, tag="v2-again"))
        started, release = rollout.start(NOON)
        assert release and release.state is ReleaseState.RETIRED
        assert (started.waiting, started.rolling) == (None, None)

    def test_numbers_only_grow(self) -> None:
        rollout = push(push(push(Rollout(), V1), V2), V3)
        assert (rollout.count, rollout.waiting and rollout.waiting.number) == (3, 3)

    def test_the_list_of_known_causes_is_bounded(self) -> None:
        rollout = Rollout()
        for number in range(1100):
            rollout = promote(rollout, f"m{number}")
        assert len(rollout.causes) == 1000
        assert rollout.causes[-1] == "model m1099"


class TestWhatWasPromised:
    """A rollback from release 2 waits while release 2 rolls."""

    def waiting(self) -> Rollout:
        rolling = roll(push(serving_v1_m1(), V2))
        return rolling.propose("decision 1", NOON, image=V1, model="m1", takes_back=2, why="ada: nonsense")[0]

    def test_goes_on_in_a_new_model_with_its_image(self) -> None:
        after, changed = self.waiting().propose("model m2", NOON, model="m2")
        assert after.waiting and (after.waiting.image, after.waiting.model) == (V1, "m2")
        assert after.waiting.takes_back == 2
        assert after.waiting.reason.endswith(": ada: nonsense")
        assert changed[0].reason == f"release {after.waiting.number} took its place before it rolled"

    def test_ends_with_a_new_image(self) -> None:
        after = push(self.waiting(), V3)
        assert after.waiting and (after.waiting.image, after.waiting.takes_back) == (V3, None)

    def test_is_the_reason_while_it_rolls_and_serves(self) -> None:
        """Nobody reads in a decision's id what it was for."""
        rollout = roll(serve(self.waiting()))
        assert rollout.rolling and rollout.rolling.reason == "ada: nonsense"
        served = serve(rollout).serving
        assert served and served.reason == "ada: nonsense"


class TestRefusals:
    def test_what_cannot_be_deployed_fails_before_anything_rolls(self) -> None:
        before = serving_v1_m1()
        refused, changed = before.refuse(f"push {V2} v2", NOON, image=V2, why="linux/arm64")
        assert [(told.number, told.state, told.image, told.reason) for told in changed] == [
            (before.count + 1, ReleaseState.FAILED, V2, "linux/arm64")
        ]
        assert (refused.serving, refused.rolling, refused.waiting) == (before.serving, None, None)
        assert refused.start(NOON) == (refused, None)

    def test_the_same_push_is_refused_once(self) -> None:
        refused, _ = Rollout().refuse(f"push {V2} v", NOON, image=V2, why="x")
        assert refused.refuse(f"push {V2} v", NOON, image=V2, why="x") == (refused, [])
        assert push(refused, V2) == refused

    def test_what_rolls_and_what_waits_go_on(self) -> None:
        rollout = push(roll(push(Rollout(), V1)), V2)
        refused, _ = rollout.refuse(f"push {V3} v", NOON, image=V3, why="x")
        assert (refused.rolling, refused.waiting) == (rollout.rolling, rollout.waiting)

    def test_it_is_not_what_a_model_rolls_with_later(self) -> None:
        refused, _ = Rollout().refuse(f"push {V2} v", NOON, image=V2, why="x")
        assert promote(refused, "m1").waiting is None


class TestSettling:
    def test_a_completed_deployment_with_our_digest_serves(self) -> None:
        before = serving_v1_m1()
        rollout = roll(push(before, V2), "d2")
        settled, changed = settle(rollout, seen(rollout.rolling), NOON + timedelta(minutes=1))
        assert [release.state for release in changed] == [ReleaseState.SERVING, ReleaseState.RETIRED]
        assert what(settled.serving) == (V2, "m1")
        assert settled.previous == before.serving
        assert settled.serving and settled.serving.since == NOON + timedelta(minutes=1)

    @pytest.mark.parametrize(
        "view",
        [
            pytest.param({"rollout": "IN_PROGRESS"}, id="in progress"),
            pytest.param({"rollout": "", "others": (Deployment("d1", 2, False, ""),)}, id="no word yet"),
            pytest.param({"digests": frozenset({V1, V2})}, id="an old task runs still"),
            pytest.param({"digests": frozenset({V1})}, id="another digest runs"),
            pytest.param({"running": 1}, id="too few tasks run"),
        ],
    )
    def test_nothing_changes_while_it_rolls(self, view: dict[str, object]) -> None:
        rollout = roll(push(serving_v1_m1(), V2), "d2")
        assert settle(rollout, seen(rollout.rolling, **view), NOON) == (rollout, [])  # type: ignore[arg-type]

    def test_a_release_that_was_not_deployed_yet_is_not_judged(self) -> None:
        rollout = push(serving_v1_m1(), V2).start(NOON)[0]
        view = seen(serving_v1_m1().serving)
        assert settle(rollout, view, NOON) == (rollout, [])

    def test_the_circuit_breaker_takes_it_back(self) -> None:
        before = serving_v1_m1()
        rollout = roll(push(before, V2), "d2")
        fallen = Deployment("d2", 3, False, "FAILED", "tasks failed to start")
        view = seen(before.serving, rollout="IN_PROGRESS", others=(fallen,), deployment="d3")
        settled, changed = settle(rollout, view, NOON)
        assert [(release.state, release.reason) for release in changed] == [
            (ReleaseState.ROLLED_BACK, "ECS: tasks failed to start")
        ]
        assert settled.serving == before.serving
        assert (settled.image, settled.model) == (V1, "m1")

    def test_how_the_task_ended_stands_beside_what_failed(self) -> None:
        rollout = roll(push(serving_v1_m1(), V2), "d2")
        task = FailedTask("t1", "EssentialContainerExited", exit_code=1)
        for why in ("it broke", "it broke."):
            _, [fallen] = rollout.ended(Fate(serves=False, by="ECS", why=why), NOON, task)
            assert fallen.reason == "ECS: it broke. Task t1: EssentialContainerExited, exit code 1."
            assert (fallen.by, fallen.failed) == ("ECS", task)

    def test_a_deployment_that_is_gone_was_taken_back(self) -> None:
        before = serving_v1_m1()
        rollout = roll(push(before, V2), "d2")
        settled, changed = settle(rollout, seen(before.serving, deployment="d3", reason=ROLLS_BACK), NOON)
        assert changed[0].state is ReleaseState.ROLLED_BACK
        assert changed[0].reason == "ECS: ECS ended the deployment"
        assert settled.rolling is None

    def test_one_whose_place_somebody_else_took_is_asked_for_again(self) -> None:
        before = serving_v1_m1()
        rollout = roll(push(before, V2), "d2")
        settled, changed = settle(rollout, seen(before.serving, deployment="d3"), NOON)
        assert settled.rolling and (settled.rolling.number, settled.rolling.deployment, changed) == (3, None, [])

    def test_a_release_taken_back_is_not_what_the_next_one_builds_on(self) -> None:
        rollout = roll(push(serving_v1_m1(), V2), "d2")
        fallen, _ = settle(rollout, seen(serving_v1_m1().serving, deployment="d3", reason=ROLLS_BACK), NOON)
        fallen, _ = settle(fallen.deploying("d3"), seen(fallen.going_back, deployment="d3"), NOON)
        assert what(roll(promote(fallen, "m2")).rolling) == (V1, "m2")

    def test_what_overtook_a_release_once_is_not_held_against_its_way_back(self) -> None:
        before = serving_v1_m1()
        assert before.serving
        rollout = roll(push(replace(before, serving=replace(before.serving, again=2)), V2), "d2")
        fallen, _ = settle(rollout, seen(rollout.rolling, rollout="FAILED"), NOON)
        assert fallen.going_back and fallen.going_back.again == 0

    def test_a_foreign_deployment_while_ours_still_rolls_changes_nothing(self) -> None:
        before = serving_v1_m1()
        rollout = roll(push(before, V2), "d2")
        ours = Deployment("d2", 3, False, "IN_PROGRESS")
        view = seen(before.serving, rollout="IN_PROGRESS", others=(ours,), deployment="by-hand")
        assert settle(rollout, view, NOON) == (rollout, [])

    def test_a_foreign_deployment_while_nothing_rolls_changes_nothing(self) -> None:
        rollout = serving_v1_m1()
        foreign = ServiceView(
            (Deployment("x", None, True, "COMPLETED"),), (RunningTask("t1", "", V3), RunningTask("t2", "", V3)), 2
        )
        assert settle(rollout, foreign, NOON) == (rollout, [])

    def test_the_placeholders_deployment_is_not_ours(self) -> None:
        rollout = roll(push(Rollout(), V1))
        view = ServiceView(
            (Deployment("d0", None, True, "COMPLETED"), Deployment("d1", 1, False, "IN_PROGRESS")),
            (RunningTask("t1", "", "sha256:placeholder"),),
            2,
        )
        assert settle(rollout, view, NOON) == (rollout, [])

    def test_another_deployment_of_our_release_counts_as_ours(self) -> None:
        """`sam deploy` registers the same release again while it rolls."""
        rollout = roll(push(serving_v1_m1(), V2), "d2")
        view = seen(rollout.rolling, deployment="by-cloudformation")
        settled, _ = settle(rollout, view, NOON)
        assert settled.serving and settled.serving.deployment == "by-cloudformation"

    def test_without_a_word_from_ecs_nothing_changes(self) -> None:
        rollout = roll(push(Rollout(), V1))
        assert settle(rollout, ServiceView((), (), 2), NOON) == (rollout, [])

    def test_after_it_settled_the_same_view_changes_nothing_more(self) -> None:
        rollout = roll(push(serving_v1_m1(), V2), "d2")
        view = seen(rollout.rolling)
        settled, _ = settle(rollout, view, NOON)
        assert settle(settled, view, NOON) == (settled, [])


def test_every_digest_that_was_pushed_is_known() -> None:
    rollout = roll(push(serving_v1_m1(), V2))
    rollout = push(rollout, V3)
    assert digests_known_to(rollout) == {V1, V2, V3}
    assert digests_known_to(promote(Rollout(), "m1")) == set()
