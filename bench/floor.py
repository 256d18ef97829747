"""How fast a rollout can be at best: what the settings imply, and what else nobody of ours can take away.

The settings alone are the floor: a new task is healthy at its first health check, and the old ones drain. What stands
beside it is named, part by part, and not in it: the scan, the start of a task, and the like.
docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-type-ecs.html (what a rolling deployment waits for),
docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html ("after your target is
registered, it must pass one health check to be considered healthy": HealthyThresholdCount is for one that failed)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inference.settings import Settings
from ministack.services import ecs

from local.engine.containers import Pace
from local.scans import SCAN_SECONDS

FARGATE_START = 30.0  # seconds from a task's request to its first answer: no setting; an assumption, printed as such
CLOSING = Settings.drain_seconds  # after SIGTERM the container itself waits so long before its port closes
STEADY = ecs._ECS_DEPLOYMENT_STEADY_DELAY  # the emulator's, before it calls a deployment completed


@dataclass(frozen=True)
class Floor:
    """Seconds. In each wave new tasks get healthy, and then old ones drain; `beside` is what else is waited for."""

    healthy: float
    drain: float
    waves: int = 1
    beside: Mapping[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return self.waves * (self.healthy + self.drain)

    @property
    def with_all(self) -> float:
        """The scan comes once, all else with every wave."""
        once = self.beside.get("scan", 0.0)
        return self.seconds + once + self.waves * (sum(self.beside.values()) - once)


def on_aws(resources: Mapping[str, Any]) -> Floor:
    """By the template's own settings. How long a scan takes on AWS is not known and not in it."""
    health, drain = settings(resources)
    deployment = resources["InferenceService"]["Properties"]["DeploymentConfiguration"]
    more = int(deployment["MaximumPercent"]) - int(deployment["MinimumHealthyPercent"])
    beside = {"task start": FARGATE_START, "closing": CLOSING}
    return Floor(health, drain, math.ceil(100 / more), beside)


def settings(resources: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds between two health checks, and until a target that is taken off is let go."""
    group = resources["TargetGroup"]["Properties"]
    attributes = {pair["Key"]: pair["Value"] for pair in group["TargetGroupAttributes"]}
    return float(group["HealthCheckIntervalSeconds"]), float(attributes["deregistration_delay.timeout_seconds"])


def locally(pace: Pace, start: float) -> Floor:
    """By the pace of the local cloud's engine. `start` is measured: from a task's request to its first good answer."""
    beside = {"scan": SCAN_SECONDS, "task start": start - pace.ask_every, "steady": STEADY, "closing": CLOSING}
    return Floor(pace.ask_every, pace.drain, 1, beside)
