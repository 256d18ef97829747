"""When ECS may shift requests to new tasks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from controlplane.domain.probes import Proof, Verdict
from controlplane.domain.releases import Release, ReleaseState
from controlplane.domain.rollout import Rollout
from controlplane.domain.service_view import Deployment, RunningTask, ServiceView
from controlplane.domain.shifting import May, Shift, may_shift, shifts_for

OURS, OLD = "sha256:" + "3" * 64, "sha256:" + "2" * 64
GOOD = Release(2, "push v2", OLD, "m1", ReleaseState.SERVING)
ROLLS = Rollout(serving=GOOD, rolling=Release(3, "push v3", OURS, "m1", ReleaseState.ROLLING, deployment="d3"))
AGREES, SILENT = Proof(Verdict.AGREES), Proof(Verdict.NO_ANSWER, "refused")
DISAGREES = Proof(Verdict.DISAGREES, "golden set: 3 of 32 rows got another label")


def view(*proofs: Proof | None, release: int | None = 3) -> ServiceView:
    tasks = tuple(RunningTask(f"t{number}", "a:8080", OURS, proof) for number, proof in enumerate(proofs))
    ours = Deployment("d3", release, True, "IN_PROGRESS")
    return ServiceView((ours, Deployment("d2", 2, False, "COMPLETED")), tasks, 2, draining=2)


def test_it_may_when_every_task_agrees_though_the_old_ones_still_run() -> None:
    assert may_shift(ROLLS, 3, view(AGREES, AGREES)) == Shift(May.SUCCEEDED, "all 2 tasks agree")


def test_it_may_not_when_one_task_disagrees() -> None:
    told = may_shift(ROLLS, 3, view(AGREES, DISAGREES))
    assert told == Shift(May.FAILED, "golden set: 3 of 32 rows got another label (task t1)")


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(view(AGREES, SILENT), id="one could not be asked"),
        pytest.param(view(AGREES, None), id="one was not asked"),
        pytest.param(view(AGREES, Proof(Verdict.NOT_READY, "loading")), id="one is not ready"),
        pytest.param(view(AGREES), id="one is missing"),
        pytest.param(view(), id="none runs yet"),
        pytest.param(replace(view(AGREES), desired=0, tasks=()), id="none is wanted"),
        pytest.param(ServiceView((), (), 2), id="ECS shows no deployment"),
        pytest.param(view(AGREES, AGREES, release=2), id="ECS shows another one's tasks"),
    ],
)
def test_it_waits(seen: ServiceView) -> None:
    assert may_shift(ROLLS, 3, seen).may is May.IN_PROGRESS


@pytest.mark.parametrize("rollout", [Rollout(), ROLLS])
def test_the_placeholder_has_nothing_to_prove(rollout: Rollout) -> None:
    assert may_shift(rollout, None, view(release=None)).may is May.SUCCEEDED


def test_the_last_good_release_is_never_held_up_on_its_way_back() -> None:
    back = Rollout(serving=GOOD, going_back=GOOD)
    assert may_shift(back, 2, view(DISAGREES, release=2)).may is May.SUCCEEDED


def test_what_the_ledger_does_not_roll_any_more_goes_back() -> None:
    fallen = Rollout(serving=GOOD, going_back=GOOD)
    assert may_shift(fallen, 3, view(AGREES, AGREES)) == Shift(May.FAILED, "the ledger does not roll release 3")


@pytest.mark.parametrize(
    ("strategy", "minutes"),
    [("ROLLING", 0), ("CANARY", 2 + 5), ("LINEAR", 4 * 2 + 5), ("BLUE_GREEN", 5)],
)
def test_a_deadline_leaves_time_for_the_steps_of_the_strategy(strategy: str, minutes: int) -> None:
    takes = shifts_for(strategy, percent=30, step=timedelta(minutes=2), keep_old=timedelta(minutes=5))
    assert takes == timedelta(minutes=minutes)
