"""A rollout brought to a moment by pushes, models and looks at ECS, as the flows do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from controlplane.domain.judging import judge
from controlplane.domain.probes import Proof, Verdict
from controlplane.domain.releases import Release, ReleaseState
from controlplane.domain.rollout import Rollout
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
