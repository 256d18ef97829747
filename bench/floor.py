"""How fast a rollout can be at best, by the settings that it waits for; and what the settings of the template are.

docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html (what a rolling deployment waits for),
docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html (what makes it healthy)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inference.settings import Settings
from ministack.services import ecs

from local.engine.containers import Pace
from local.scans import SCAN_SECONDS

FARGATE_START = 30.0  # seconds from a task's request to its first answer: no setting; an assumption, printed as such
CLOSING = Settings.drain_seconds  # after SIGTERM the container itself waits so long before its port closes


@dataclass(frozen=True)
class Floor:
    """Seconds. The image is scanned; a wave of new tasks starts, gets healthy, and then the old ones drain."""

    start: float
    healthy: float
    drain: float
    waves: int = 1
    scan: float = 0.0

    @property
    def seconds(self) -> float:
        return self.scan + self.waves * (self.start + self.healthy + self.drain)


def on_aws(resources: Mapping[str, Any]) -> Floor:
    """By the template's own settings."""
    group = resources["TargetGroup"]["Properties"]
    attributes = {pair["Key"]: pair["Value"] for pair in group["TargetGroupAttributes"]}
    deployment = resources["InferenceService"]["Properties"]["DeploymentConfiguration"]
    more = int(deployment["MaximumPercent"]) - int(deployment["MinimumHealthyPercent"])
    return Floor(
        start=FARGATE_START,
        healthy=float(group["HealthCheckIntervalSeconds"] * group["HealthyThresholdCount"]),
        drain=float(attributes["deregistration_delay.timeout_seconds"]) + CLOSING,
        waves=math.ceil(100 / more),
    )


def locally(start: float) -> Floor:
    """`start` is measured: from a task's request to its first good answer. The rest are the local cloud's waits."""
    return Floor(start=start, healthy=ecs._ECS_DEPLOYMENT_STEADY_DELAY, drain=Pace().drain + CLOSING, scan=SCAN_SECONDS)
