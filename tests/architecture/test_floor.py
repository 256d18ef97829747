"""How fast a rollout on AWS can be by the template's settings: a promise, held here."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from bench.floor import CLOSING, FARGATE_START, Floor, locally, on_aws
from tests.architecture.cloudformation import RESOURCES


def test_by_its_settings_a_rollout_on_aws_can_be_done_within_90_seconds() -> None:
    floor = on_aws(RESOURCES)
    assert floor == Floor(start=FARGATE_START, healthy=10, drain=30 + CLOSING, waves=1)
    assert floor.seconds < 90


def test_the_settings_that_aws_gives_by_itself_would_not_do() -> None:
    slow: dict[str, Any] = deepcopy(RESOURCES)
    group = slow["TargetGroup"]["Properties"]
    group |= {"HealthCheckIntervalSeconds": 30, "HealthyThresholdCount": 5}
    group["TargetGroupAttributes"] = [{"Key": "deregistration_delay.timeout_seconds", "Value": "300"}]
    assert on_aws(slow).seconds == FARGATE_START + 150 + 300 + CLOSING


def test_with_less_room_the_tasks_go_in_waves() -> None:
    tight: dict[str, Any] = deepcopy(RESOURCES)
    tight["InferenceService"]["Properties"]["DeploymentConfiguration"]["MaximumPercent"] = 150
    assert on_aws(tight).seconds == 2 * on_aws(RESOURCES).seconds


def test_the_local_floor_is_the_start_and_what_the_local_cloud_waits_for() -> None:
    floor = locally(2.5)
    assert floor.seconds == floor.scan + 2.5 + floor.healthy + floor.drain
    assert floor.scan > 0 and floor.healthy > 0 and floor.drain > 0
