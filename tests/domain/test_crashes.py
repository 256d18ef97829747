"""When crashed tasks are their release's fault, and what is done then."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from controlplane.domain.crashes import Ended, answer, pattern, while_rolling
from controlplane.domain.judging import judge
from controlplane.domain.probes import Proof, Verdict
from controlplane.domain.releases import Release, ReleaseState
from controlplane.domain.rollout import Rollout
from controlplane.domain.service_view import Deployment, RunningTask, ServiceView

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BAKE = timedelta(minutes=30)
FIRST = Release(1, "push v1", "sha256:1", "m1", ReleaseState.RETIRED, since=NOON - timedelta(days=1))
SECOND = Release(2, "push v2", "sha256:2", "m1", ReleaseState.SERVING, since=NOON)
ROLLS = Release(3, "push v3", "sha256:3", "m1", ReleaseState.ROLLING, since=NOON, deployment="d3")
SERVES = Rollout(serving=SECOND, previous=FIRST)
ROLLING = replace(SERVES, rolling=ROLLS)


def ended(task: str, minute: float = 1, *, ran: float = 60, code: int | None = 7) -> Ended:
    return Ended(task, NOON + timedelta(minutes=minute), timedelta(seconds=ran), code)


TWICE = [ended("a", 1), ended("b", 2)]


def test_one_task_may_be_chance_and_two_are_the_release() -> None:
    assert pattern(ROLLS, TWICE[:1]) is None
    found = pattern(ROLLS, TWICE)
    assert found and (found.count, found.last) == (2, "b")
    assert found.sentence == "2 tasks of release 3 were up and ended by themselves"


def test_a_task_that_is_told_of_twice_counts_once() -> None:
    assert pattern(ROLLS, [ended("a"), ended("a")]) is None


def test_it_is_a_pattern_from_the_second_crash_on_whenever_it_is_looked_at() -> None:
    found = pattern(ROLLS, [ended("c", 9), ended("b", 2), ended("a", 1)])
    assert found and (found.at, found.last) == (NOON + timedelta(minutes=2), "c")


@pytest.mark.parametrize(
    ("counts", "end"),
    [
        (True, ended("b")),
        (True, ended("b", code=None)),  # killed for its memory, say: no exit code
        (False, ended("b", code=0)),
        (False, ended("b", ran=4)),  # a crash at start, which ECS's circuit breaker counts
    ],
)
def test_what_counts_while_it_rolls(counts: bool, end: Ended) -> None:
    assert (pattern(ROLLS, [ended("a"), end]) is not None) == counts


def test_once_it_serves_a_crash_at_start_counts_too_for_ecs_counts_nothing_any_more() -> None:
    assert pattern(SECOND, [ended("a"), ended("b", ran=1)])
    assert pattern(SECOND, [ended("a"), ended("b", -1, ran=1)]) is None


class TestWhileItRolls:
    def test_it_falls_and_the_last_task_is_named(self) -> None:
        fate = while_rolling(ROLLING, TWICE)
        assert fate and (fate.serves, fate.by, fate.task) == (False, "a task that crashed", "b")

    def test_also_when_it_would_serve_at_that_moment(self) -> None:
        tasks = tuple(RunningTask(name, "a:8080", "sha256:3", Proof(Verdict.AGREES)) for name in ("c", "d"))
        view = ServiceView((Deployment("d3", 3, True, "COMPLETED"),), tasks, 2)
        fate = judge(ROLLS, view, NOON, timedelta(minutes=30), crashed=while_rolling(ROLLING, TWICE))
        assert fate and fate.by == "a task that crashed"

    def test_what_ecs_ended_already_is_told_as_ecs_does(self) -> None:
        view = ServiceView((Deployment("d3", 3, True, "FAILED", "ECS deployment circuit breaker: x"),), (), 2)
        fate = judge(ROLLS, view, NOON, timedelta(minutes=30), crashed=while_rolling(ROLLING, TWICE))
        assert fate and fate.by == "ECS's circuit breaker"

    def test_a_rollback_is_not_judged_by_it(self) -> None:
        assert while_rolling(replace(SERVES, rolling=replace(ROLLS, takes_back=2)), TWICE) is None
        assert while_rolling(replace(SERVES, going_back=SECOND), TWICE) is None


def answered(rollout: Rollout, *ends: Ended) -> tuple[str, int | None]:
    found = pattern(rollout.rolling or rollout.serving or FIRST, ends or TWICE)
    assert found
    told = answer(found, rollout, bake=BAKE)
    assert told
    return told.done, told.roll_back_to.number if told.roll_back_to else None


class TestOfWhatServes:
    def test_within_the_bake_it_goes_back_in_the_words_of_an_alarm(self) -> None:
        assert answered(SERVES) == ("Going back from release 2 to image and model of release 1.", 1)

    @pytest.mark.parametrize(
        ("why", "rollout"),
        [
            ("no release to go back to", replace(SERVES, previous=None)),
            ("itself a rollback", replace(SERVES, serving=replace(SECOND, takes_back=1))),
            ("which rolls, is itself a rollback", replace(ROLLING, rolling=replace(ROLLS, takes_back=2))),
            ("on its way back to release 2", replace(SERVES, going_back=SECOND)),
            ("went back to release 2 only now", replace(SERVES, back_at=NOON)),
        ],
    )
    def test_it_is_only_told_of(self, why: str, rollout: Rollout) -> None:
        done, back = answered(rollout)
        assert back is None and why in done

    def test_after_the_bake_it_is_only_told_of(self) -> None:
        done, back = answered(SERVES, ended("a", 31), ended("b", 32))
        assert back is None and "has served well" in done

    def test_a_late_look_finds_that_it_was_within_the_bake(self) -> None:
        assert answered(SERVES, ended("a", 28), ended("b", 29), ended("c", 35))[1] == 1

    def test_what_rolls_is_judged_where_it_rolls(self) -> None:
        found = pattern(ROLLS, TWICE)
        assert found and answer(found, ROLLING, bake=BAKE) is None
