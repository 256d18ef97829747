"""ECS "ECS Deployment State Change", or a look that is due -> the release is settled by what runs; people told.

docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html
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
    return f"{event['detail']['eventName']} {event['detail']['deploymentId']}"


@logger.inject_lambda_context(correlation_id_path="id")
def handler(event: dict[str, Any], context: object) -> None:
    logger.info("deployment changed", because=parse(event), done=flow()())
