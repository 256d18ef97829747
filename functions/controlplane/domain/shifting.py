"""May ECS shift requests to new tasks? Asked of the release that rolls, when all its tasks stand beside the old ones.

What else may be on its way passes: the placeholder has nothing to prove, and the last good release proved itself when
it came; to hold it up would keep people on what fell. Anything the ledger does not want goes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from .probes import Verdict

if TYPE_CHECKING:
    from .rollout import Rollout
    from .service_view import ServiceView


def shifts_for(strategy: str, *, percent: int, step: timedelta, keep_old: timedelta) -> timedelta:
    """How long ECS takes to shift and then keeps the old tasks, by settings: what a rollout's deadline has to leave.

    docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-linear.html
    """
    steps = {"CANARY": 1, "LINEAR": -(-100 // percent)}.get(strategy, 0)
    return timedelta(0) if strategy == "ROLLING" else steps * step + keep_old


class May(StrEnum):
    """In ECS's own words."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    IN_PROGRESS = "IN_PROGRESS"


@dataclass(frozen=True)
class Shift:
    may: May
    why: str


def may_shift(rollout: Rollout, release: int | None, view: ServiceView) -> Shift:
    """`release` is the one that ECS asks for, None for the placeholder; `view` has the proofs of its tasks."""
    if release is None:
        return Shift(May.SUCCEEDED, "the placeholder has nothing to prove")
    if rollout.rolling is None or rollout.rolling.number != release:
        if rollout.serving and rollout.serving.number == release:
            return Shift(May.SUCCEEDED, f"release {release} proved itself when it came")
        return Shift(May.FAILED, f"the ledger does not roll release {release}")
    if view.primary is None or view.primary.release != release:
        return Shift(May.IN_PROGRESS, f"ECS does not show release {release} as the service's primary deployment")
    for task in view.tasks:
        if task.proof and task.proof.verdict is Verdict.DISAGREES:
            return Shift(May.FAILED, f"{task.proof.why} (task {task.task_id})")
    proved = [task for task in view.tasks if task.proof and task.proof.verdict is Verdict.AGREES]
    if len(proved) == view.running >= max(view.desired, 1):
        return Shift(May.SUCCEEDED, f"all {len(proved)} tasks agree")
    return Shift(May.IN_PROGRESS, f"{len(proved)} of {max(view.desired, view.running)} tasks agree so far")
