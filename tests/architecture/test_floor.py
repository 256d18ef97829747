"""How fast a rollout on AWS can be by the template's settings: a promise, held here."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from bench.floor import CLOSING, FARGATE_START, Floor, locally, on_aws
from local.engine.containers import Pace
from tests.architecture.cloudformation import RESOURCES


def test_by_its_settings_a_rollout_on_aws_can_be_done_within_90_seconds() -> None:
    floor = on_aws(RESOURCES)
    assert floor == Floor(healthy=5, drain=30, waves=1, beside={"task start": FARGATE_START, "closing": CLOSING})
    assert floor.seconds == 35
    assert floor.with_all == 35 + FARGATE_START + CLOSING < 90


def test_the_settings_that_aws_gives_by_itself_would_not_do() -> None:
    slow: dict[str, Any] = deepcopy(RESOURCES)
    group = slow["TargetGroup"]["Properties"]
    group |= {"HealthCheckIntervalSeconds": 30}
    group["TargetGroupAttributes"] = [{"Key": "deregistration_delay.timeout_seconds", "Value": "300"}]
    assert on_aws(slow).seconds == 30 + 300


def test_with_less_room_the_tasks_go_in_waves() -> None:
    tight: dict[str, Any] = deepcopy(RESOURCES)
    tight["InferenceService"]["Properties"]["DeploymentConfiguration"]["MaximumPercent"] = 150
    assert on_aws(tight).seconds == 2 * on_aws(RESOURCES).seconds
    assert on_aws(tight).with_all == 2 * on_aws(RESOURCES).with_all


def test_the_local_floor_is_of_settings_alone_and_names_what_stands_beside_it() -> None:
    floor = locally(Pace(ask_every=5, drain=30), start=7.5)
    assert floor.seconds == 35
    assert set(floor.beside) == {"scan", "task start", "steady", "closing"} and floor.beside["task start"] == 2.5
    assert floor.with_all == 35 + sum(floor.beside.values())


def test_the_scan_comes_once_however_many_waves_there_are() -> None:
    assert Floor(1, 2, waves=3, beside={"scan": 10, "closing": 1}).with_all == 3 * (1 + 2 + 1) + 10
