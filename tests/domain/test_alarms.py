"""What an alarm's change means."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from controlplane.domain.alarms import AlarmChange, Answer, Situation, decide
from controlplane.domain.releases import Release, ReleaseState

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BAKE = timedelta(minutes=30)
SLOW = AlarmChange("tidegate-latency-high", "ALARM", "OK", "p95 over 300 ms", NOON)
ERRORS = AlarmChange("tidegate-errors-high", "ALARM", "OK", "5 % over", NOON)
FIRST = Release(1, "push v1", "sha256:1", "m1", ReleaseState.RETIRED, since=NOON - timedelta(days=1))
SECOND = Release(2, "push v2", "sha256:2", "m1", ReleaseState.SERVING, since=NOON - timedelta(minutes=5))
THIRD = Release(3, "push v3", "sha256:3", "m1", ReleaseState.ROLLING, since=NOON - timedelta(minutes=1))
CALM = Situation(desired=2, ceiling=4, serving=SECOND, previous=FIRST, rolling=None)


def answered(change: AlarmChange, situation: Situation = CALM) -> Answer:
    answer = decide(change, situation, bake=BAKE)
    assert answer is not None
    return answer


def test_slow_answers_get_one_task_more() -> None:
    answer = answered(SLOW)
    assert (answer.scale_to, answer.roll_back_to) == (3, None)
    assert answer.done == "Scaled the service from 2 to 3 tasks."


def test_at_the_ceiling_it_is_only_told_of() -> None:
    answer = answered(SLOW, replace(CALM, desired=4))
    assert answer.scale_to is None
    assert "the most that are allowed" in answer.done


def test_errors_soon_after_a_release_take_it_back() -> None:
    answer = answered(ERRORS)
    assert answer.roll_back_to == FIRST
    assert answer.done == "Going back from release 2 to image and model of release 1."


@pytest.mark.parametrize(
    ("why", "situation"),
    [
        ("served well", replace(CALM, serving=replace(SECOND, since=NOON - BAKE - timedelta(seconds=1)))),
        ("no release to go back to", replace(CALM, previous=None)),
        ("no release to go back to", replace(CALM, serving=None, previous=None)),
        ("on its way back to release 2", replace(CALM, going_back=SECOND)),
        ("went back to release 2 only now", replace(CALM, back_at=NOON - timedelta(minutes=1))),
        ("itself a rollback", replace(CALM, rolling=replace(THIRD, cause=ERRORS.incident))),
        ("itself a rollback", replace(CALM, rolling=replace(THIRD, takes_back=2))),
        ("older than release 3", replace(CALM, rolling=replace(THIRD, since=NOON + timedelta(seconds=1)))),
        ("no release to go back to", replace(CALM, rolling=THIRD, serving=None, previous=None)),
        ("itself a rollback", replace(CALM, serving=replace(SECOND, cause=ERRORS.incident))),
    ],
)
def test_errors_for_another_reason_are_only_told_of(why: str, situation: Situation) -> None:
    answer = answered(ERRORS, situation)
    assert (answer.roll_back_to, answer.take_back) == (None, None)
    assert why in answer.done


def test_errors_while_a_release_rolls_take_it_back_before_it_serves_alone() -> None:
    answer = answered(ERRORS, replace(CALM, rolling=THIRD))
    assert (answer.take_back, answer.roll_back_to) == (3, None)
    assert answer.done == "Taking release 3, which was rolling out, back: release 2 goes out again."


def test_a_new_model_that_took_over_a_rollback_is_taken_back_as_any_release() -> None:
    """Its image served before, but the model did not."""
    heir = replace(THIRD, cause="model films-3", takes_back=1)
    assert answered(ERRORS, replace(CALM, rolling=heir)).take_back == 3
    served = replace(SECOND, cause="model films-3", takes_back=7)
    assert answered(ERRORS, replace(CALM, serving=served)).roll_back_to == FIRST


def test_a_release_that_came_after_a_way_back_is_taken_back_as_ever() -> None:
    """What fell before it is no reason to keep it."""
    assert answered(ERRORS, replace(CALM, back_at=NOON - timedelta(minutes=6))).roll_back_to == FIRST


def test_long_after_a_way_back_errors_are_judged_as_ever() -> None:
    assert answered(ERRORS, replace(CALM, back_at=NOON - BAKE - timedelta(seconds=1))).roll_back_to == FIRST


def test_a_release_without_a_model_cannot_be_gone_back_to() -> None:
    assert answered(ERRORS, replace(CALM, previous=replace(FIRST, image="sha256:2", model=None))).roll_back_to is None


def test_another_alarm_is_told_with_its_own_advice() -> None:
    change = replace(SLOW, name="tidegate-dead-letters", description="Run `make redrive`.")
    answer = answered(change)
    assert (answer.scale_to, answer.roll_back_to, answer.to_do) == (None, None, "Run `make redrive`.")


def test_its_end_is_told_and_nothing_is_done() -> None:
    answer = answered(replace(ERRORS, state="OK", previous_state="ALARM"))
    assert (answer.scale_to, answer.roll_back_to) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        replace(SLOW, silenced=True),
        replace(SLOW, previous_state="ALARM"),
        replace(SLOW, state="OK", previous_state="INSUFFICIENT_DATA"),
        replace(SLOW, state="INSUFFICIENT_DATA"),
        replace(SLOW, state="OK", previous_state="OK"),
    ],
)
def test_nobody_needs_to_know_of(change: AlarmChange) -> None:
    assert decide(change, CALM, bake=BAKE) is None


def test_the_same_change_is_the_same_incident_and_another_is_not() -> None:
    assert SLOW.incident == replace(SLOW, reason="told again").incident
    assert (
        len(
            {SLOW.incident, ERRORS.incident, replace(SLOW, at=NOON + BAKE).incident, replace(SLOW, state="OK").incident}
        )
        == 4
    )
