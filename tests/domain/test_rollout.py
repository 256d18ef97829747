"""What is proposed, refused, rolls and waits: every order of images and models."""

from __future__ import annotations

from dataclasses import replace

from controlplane.domain.releases import ReleaseState
from controlplane.domain.rollout import Rollout, digests_known_to
from controlplane.domain.service_view import Deployment, RunningTask, ServiceView

from tests.domain.rolling import (
    NOON,
    V1,
    V2,
    V3,
    promote,
    push,
    roll,
    seen,
    serve,
    serving_v1_m1,
    settle,
    what,
)


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


def test_every_digest_that_was_pushed_is_known() -> None:
    rollout = roll(push(serving_v1_m1(), V2))
    rollout = push(rollout, V3)
    assert digests_known_to(rollout) == {V1, V2, V3}
    assert digests_known_to(promote(Rollout(), "m1")) == set()
