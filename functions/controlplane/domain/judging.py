"""What becomes of a release that rolls: what ECS shows and what its tasks proved in, its fate out.

Decided by the deployment that carries the release, the digests that run and the proof of every task: after a rollback
ECS reports a completed deployment too, and a deployment completes with any model behind it.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from .probes import Verdict
from .releases import Fate, Release
from .service_view import Deployment, RunningTask, ServiceView

AGAIN = 2  # times that a release is rolled out again when somebody else's deployment took its place
TAKES_BACK = re.compile(r"roll\w*[ -]?back", re.IGNORECASE)  # in ECS's reason of the deployment that it goes back to


def judge(
    release: Release,
    view: ServiceView,
    now: datetime,
    longest: timedelta,
    crashed: Fate | None = None,
) -> Fate | None:
    """None while it still rolls. `crashed`: what its crashes come to, see `crashes.py`."""
    seen = _seen(release, view)
    if seen and not seen.serves:
        return seen
    return crashed or seen or _late(release, view, now, longest)


def _seen(release: Release, view: ServiceView) -> Fate | None:
    primary = view.primary
    if release.deployment is None or primary is None:
        return None
    ours = view.of(release.carried)
    if ours is None or not ours.is_primary:
        if primary.release == release.carried or (ours and ours.rollout not in {"FAILED", "COMPLETED"}):
            return None
        return _overtaken(release, primary) if _by_somebody_else(ours, primary) else _by_ecs(ours, gone=True)
    if bad := _first(view, Verdict.DISAGREES):
        return Fate(serves=False, by="the smoke test", why=_told(bad), deployment=ours.deployment_id, task=bad.task_id)
    if ours.rollout == "FAILED":
        return _by_ecs(ours)
    steady = view.running >= view.desired and not view.draining
    # AWS says that it tells a state "only for rolling updates": without one, it is done when nothing else is left.
    done = ours.rollout == "COMPLETED" or (not ours.rollout and view.deployments == (ours,))
    if not done or not steady:
        return None
    if release.is_placeholder:
        return Fate(serves=True, deployment=ours.deployment_id)
    if view.digests != {release.image}:
        return None
    if bad := _first(view, Verdict.NOT_READY):
        why = f"It takes requests, but {_told(bad)}"
        return Fate(serves=False, by="the smoke test", why=why, deployment=ours.deployment_id, task=bad.task_id)
    if all(task.proof and task.proof.verdict is Verdict.AGREES for task in view.tasks):
        return Fate(serves=True, deployment=ours.deployment_id)
    return None


def _by_somebody_else(ours: Deployment | None, primary: Deployment) -> bool:
    """Not ECS, which says FAILED of what it takes back, or that it rolls back; only of rolling updates, though."""
    by_ecs = (ours is not None and ours.rollout == "FAILED") or TAKES_BACK.search(primary.reason)
    return bool(primary.rollout) and not by_ecs


def _overtaken(release: Release, primary: Deployment) -> Fate:
    """A `sam deploy` that asked what serves before the release began does this; what is newer goes out again."""
    carried = f"release {primary.release}" if primary.release is not None else "the placeholder"
    why = f"somebody else's deployment {primary.deployment_id} took its place with {carried}"
    if release.again < AGAIN:
        return Fate(serves=False, by="another deployment", why=why, again=True)
    return Fate(serves=False, by="another deployment", why=f"{why}, time and again", gone=True)


def _by_ecs(ours: Deployment | None, *, gone: bool = False) -> Fate:
    why = (ours.reason if ours else "ECS ended the deployment") or "ECS gave no reason"
    by = "ECS's circuit breaker" if "circuit breaker" in why else "ECS"
    return Fate(serves=False, by=by, why=why, deployment=ours.deployment_id if ours else None, gone=gone)


def _late(release: Release, view: ServiceView, now: datetime, longest: timedelta) -> Fate | None:
    if release.since is None or now - release.since <= longest:
        return None
    ours = view.of(release.carried)
    minutes = round(longest / timedelta(minutes=1))
    seen = [f"It was not done after {minutes} minutes (RolloutTimeoutMinutes, and the steps of a strategy that shifts)"]
    if release.deployment is None or ours is None:
        seen.append("ECS shows no deployment of it")
    else:
        told = f": {ours.reason}" if ours.reason else ""
        seen.append(f"its ECS deployment is {ours.rollout or 'without a state'}{told}")
    own = view.tasks if ours and ours.is_primary else ()
    if ours and ours.is_primary:
        seen.append(f"{len(own)} of {view.desired} tasks run")
    silent = next((task for task in own if not task.proof or task.proof.verdict is not Verdict.AGREES), None)
    if silent:
        seen.append(_told(silent) if silent.proof else f"task {silent.task_id} was not asked")
    return Fate(
        serves=False,
        by="the deadline",
        why="; ".join(seen),
        deployment=ours.deployment_id if ours else None,
        task=silent.task_id if silent else None,
    )


def _first(view: ServiceView, verdict: Verdict) -> RunningTask | None:
    return next((task for task in view.tasks if task.proof and task.proof.verdict is verdict), None)


def _told(task: RunningTask) -> str:
    assert task.proof
    return f"{task.proof.why} (task {task.task_id})"
