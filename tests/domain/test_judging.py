"""What becomes of a release that rolls, by what ECS shows and what its tasks proved."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from controlplane.domain.failures import FailedTask, readable
from controlplane.domain.judging import judge
from controlplane.domain.probes import Proof, Verdict
from controlplane.domain.releases import Fate, Release, ReleaseState
from controlplane.domain.service_view import Deployment, RunningTask, ServiceView

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
OURS = "sha256:" + "3" * 64
RELEASE = Release(3, "push v3", OURS, "m1", ReleaseState.ROLLING, deployment="d3", since=NOON)
AGREES, SILENT = Proof(Verdict.AGREES), Proof(Verdict.NO_ANSWER, "GET /version got no answer: refused")
NOT_READY = Proof(Verdict.NOT_READY, "GET /ready answered 503: loading")
DISAGREES = Proof(Verdict.DISAGREES, "golden set: 3 of 32 rows got another label")


def view(*proofs: Proof | None, rollout: str = "COMPLETED", draining: int = 0, reason: str = "") -> ServiceView:
    tasks = tuple(RunningTask(f"t{number}", "a:8080", OURS, proof) for number, proof in enumerate(proofs))
    return ServiceView((Deployment("d3", 3, True, rollout, reason),), tasks, 2, draining)


def fate(seen: ServiceView, *, after: float = 1, release: Release = RELEASE) -> Fate | None:
    return judge(release, seen, NOON + timedelta(minutes=after), timedelta(minutes=30))


def test_it_serves_when_ecs_is_done_and_every_task_agreed() -> None:
    assert fate(view(AGREES, AGREES)) == Fate(serves=True, deployment="d3")


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(view(AGREES, None), id="one was not asked"),
        pytest.param(view(AGREES, SILENT), id="one could not be asked"),
        pytest.param(view(AGREES), id="one is missing"),
        pytest.param(view(AGREES, AGREES, draining=1), id="an old one drains"),
        pytest.param(view(AGREES, AGREES, rollout="IN_PROGRESS"), id="ECS is not done"),
        pytest.param(view(NOT_READY, AGREES, rollout="IN_PROGRESS"), id="one is not ready yet"),
    ],
)
def test_it_still_rolls(seen: ServiceView) -> None:
    assert fate(seen) is None


@pytest.mark.parametrize("rollout", ["IN_PROGRESS", "COMPLETED"])
def test_one_task_that_disagrees_ends_it_even_while_old_ones_serve(rollout: str) -> None:
    told = fate(view(AGREES, DISAGREES, rollout=rollout, draining=2))
    assert told and (told.serves, told.by, told.task) == (False, "the smoke test", "t1")
    assert told.why == "golden set: 3 of 32 rows got another label (task t1)"


def test_a_task_that_takes_requests_and_is_not_ready_ends_it() -> None:
    told = fate(view(NOT_READY, AGREES))
    assert told and told.why == "It takes requests, but GET /ready answered 503: loading (task t0)"


def test_the_circuit_breaker_is_named() -> None:
    told = fate(view(rollout="FAILED", reason="ECS deployment circuit breaker: tasks failed to start."))
    assert told and (told.by, told.gone) == ("ECS's circuit breaker", False)


@pytest.mark.parametrize("rollout", ["IN_PROGRESS", ""])
def test_a_service_that_carries_another_release_has_taken_it_back(rollout: str) -> None:
    """ECS says that it rolls back; strategies that shift tell no state, and nothing else ends a deployment there."""
    reason = "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/2." if rollout else ""
    told = fate(ServiceView((Deployment("d4", 2, True, rollout, reason),), (), 2))
    assert told and (told.by, told.gone, told.again, told.why) == ("ECS", True, False, "ECS ended the deployment")


class TestSomebodyElsesDeployment:
    """A `sam deploy` asked what serves before the release began, and sets the service back to that."""

    SEEN = ServiceView((Deployment("d4", 2, True, "IN_PROGRESS", "ECS deployment ecs-svc/4 in progress."),), (), 2)

    def test_is_no_fault_of_the_release_which_rolls_out_again(self) -> None:
        told = fate(self.SEEN)
        assert told and told.again
        assert told.why == "somebody else's deployment d4 took its place with release 2"

    def test_is_waited_for_while_ours_is_still_there(self) -> None:
        ours = Deployment("d3", 3, False, "IN_PROGRESS")
        assert fate(replace(self.SEEN, deployments=(*self.SEEN.deployments, ours))) is None

    def test_counts_also_when_ours_was_done_already(self) -> None:
        told = fate(replace(self.SEEN, deployments=(*self.SEEN.deployments, Deployment("d3", 3, False, "COMPLETED"))))
        assert told and told.again

    def test_is_not_fought_for_ever(self) -> None:
        told = fate(self.SEEN, release=replace(RELEASE, again=2))
        assert told and (told.again, told.gone, told.by) == (False, True, "another deployment")

    def test_is_not_what_ecs_does_with_what_failed(self) -> None:
        failed = Deployment("d3", 3, False, "FAILED", "tasks failed to start")
        told = fate(replace(self.SEEN, deployments=(*self.SEEN.deployments, failed)))
        assert told and (told.by, told.gone) == ("ECS", True)


class TestTheDeadline:
    def test_passes_with_what_was_seen_last(self) -> None:
        seen = view(SILENT, rollout="IN_PROGRESS", reason="waiting")
        assert fate(seen, after=30) is None
        told = fate(seen, after=30.1)
        assert told and (told.by, told.task) == ("the deadline", "t0")
        assert told.why == (
            "It was not done after 30 minutes (RolloutTimeoutMinutes, and the steps of a strategy that shifts); "
            "its ECS deployment is IN_PROGRESS: waiting; "
            "1 of 2 tasks run; GET /version got no answer: refused (task t0)"
        )

    def test_ends_what_was_never_deployed_too(self) -> None:
        told = fate(view(AGREES, AGREES), after=31, release=replace(RELEASE, number=4, deployment=None))
        assert told and "ECS shows no deployment of it" in told.why

    def test_does_not_end_what_serves_at_that_moment(self) -> None:
        told = fate(view(AGREES, AGREES), after=31)
        assert told and told.serves


class TestLastWords:
    def test_are_of_people_and_without_secrets(self) -> None:
        assert readable("a\x1b[31m\tb\n") == "a [31m b"
        assert readable("AWS key AKIAIOSFODNN7EXAMPLE in use") == "AWS key AKIA*** in use"
        assert readable('{"password": "hunter2", "x": 1}') == '{"password": ***, "x": 1}'
        assert readable("Authorization: Bearer abc.def next") == "Authorization: *** next"
        assert len(readable("x" * 5000)) == 300

    def test_a_task_that_runs_still_says_so(self) -> None:
        assert FailedTask("t1").sentence == "Task t1: it runs."


class TestWhileRequestsAreShifted:
    """CANARY, LINEAR, BLUE_GREEN: two revisions live until the bake time is over."""

    def test_it_does_not_serve_while_ecs_keeps_the_old_tasks(self) -> None:
        seen = view(AGREES, AGREES, rollout="IN_PROGRESS", draining=2)
        assert fate(replace(seen, deployments=(*seen.deployments, Deployment("d2", 2, False, "COMPLETED")))) is None

    def test_without_a_state_it_is_done_when_no_other_deployment_is_left(self) -> None:
        seen = view(AGREES, AGREES, rollout="")
        assert fate(seen) == Fate(serves=True, deployment="d3")
        assert fate(replace(seen, deployments=(*seen.deployments, Deployment("d2", 2, False, "")))) is None

    def test_when_ecs_went_back_by_itself_its_reason_is_told(self) -> None:
        old = Deployment("d2", 2, True, "COMPLETED")
        fallen = Deployment("d3", 3, False, "FAILED", "Service deployment rolled back: lifecycle hook failed")
        told = fate(ServiceView((old, fallen), (), 2))
        assert told and (told.by, told.gone) == ("ECS", True)
        assert "lifecycle hook failed" in told.why
