"""How what rolls ends: every good and bad end, and what is no end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from controlplane.domain.failures import FailedTask
from controlplane.domain.releases import Fate, ReleaseState
from controlplane.domain.rollout import Rollout
from controlplane.domain.service_view import Deployment, RunningTask, ServiceView

from tests.domain.rolling import (
    NOON,
    ROLLS_BACK,
    V1,
    V2,
    V3,
    promote,
    push,
    roll,
    seen,
    serving_v1_m1,
    settle,
    what,
)


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
