"""EC2 Spot warning, rebalance, state change, S3 "Object Created" on logs/<run id>/<attempt>/outcome.json -> the run
goes on elsewhere, or fails with its reason.

docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instance-state-changes.html; the ARN is never parsed.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from controlplane import wiring
from controlplane.domain.machines import AttemptEnded, MachineChanged

logger = Logger()
flow = cache(wiring.on_machine_changed)
ALIVE = {"running": True, "shutting-down": False, "stopping": False, "stopped": False, "terminated": False}


def parse(event: dict[str, Any]) -> MachineChanged | AttemptEnded | None:
    """By its shape; None for an object further down, which is not an attempt's outcome."""
    told = event["detail"]
    if "object" in told and "instance-id" not in told:
        parts = told["object"]["key"].split("/")
        return AttemptEnded(parts[1], int(parts[2])) if len(parts) == 4 and parts[2].isdecimal() else None
    if "state" in told:
        return MachineChanged(told["instance-id"], ALIVE.get(told["state"]))
    return MachineChanged(told["instance-id"], None, is_warning=True)


@logger.inject_lambda_context(correlation_id_path="id")
def handler(event: dict[str, Any], context: object) -> None:
    told = parse(event)
    logger.info("machine changed", told=str(told), done=flow()(told) if told else ["ignored: not an outcome"])
