"""ECS "ECS Deployment State Change" -> the release is settled by deployment and running digest; people told.

docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from controlplane import wiring

logger = Logger()
flow = cache(wiring.on_deployment_changed)


@dataclass(frozen=True)
class DeploymentChange:
    deployment: str
    name: str

    @property
    def ended(self) -> str | None:
        return None if self.name == "SERVICE_DEPLOYMENT_IN_PROGRESS" else self.deployment


def parse(event: dict[str, Any]) -> DeploymentChange:
    return DeploymentChange(event["detail"]["deploymentId"], event["detail"]["eventName"])


@logger.inject_lambda_context(correlation_id_path="id")
def handler(event: dict[str, Any], context: object) -> None:
    change = parse(event)
    logger.info("deployment changed", deployment=change.deployment, event=change.name, done=flow()(change.ended))
