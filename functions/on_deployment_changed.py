"""ECS "ECS Deployment State Change", a task that ended by itself, or a look that is due -> the release is settled.

By what runs: it serves, or is taken back, also when its tasks crash soon after; people are told.
docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html
docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html
"""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from controlplane import wiring

logger = Logger()
flow = cache(wiring.on_deployment_changed)


def parse(event: dict[str, Any]) -> str:
    """What made us look. It is a hint; what ECS says now is what counts."""
    if "Records" in event:
        return "a look is due"
    detail = event["detail"]
    if event["detail-type"] == "ECS Task State Change":
        return f"{detail.get('stopCode', detail['lastStatus'])} {detail['taskArn']}"
    return f"{detail['eventName']} {detail['deploymentId']}"


@logger.inject_lambda_context(correlation_id_path="id")
def handler(event: dict[str, Any], context: object) -> None:
    logger.info("deployment changed", because=parse(event), done=flow()())
