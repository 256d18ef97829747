"""EC2 Spot warning, rebalance recommendation, state change -> the run goes on elsewhere, or fails with its reason.

docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instance-state-changes.html; the ARN is never parsed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from controlplane import wiring

logger = Logger()
flow = cache(wiring.on_machine_changed)
ALIVE = {
    "pending": None,
    "running": True,
    "shutting-down": False,
    "stopping": False,
    "stopped": False,
    "terminated": False,
}


@dataclass(frozen=True)
class MachineChange:
    """`alive`: True = up, False = going or gone, None = a warning, or not up yet."""

    machine: str
    alive: bool | None


def parse(event: dict[str, Any]) -> MachineChange:
    told = event["detail"]
    return MachineChange(told["instance-id"], ALIVE.get(told.get("state", "")))


@logger.inject_lambda_context(correlation_id_path="id")
def handler(event: dict[str, Any], context: object) -> None:
    change = parse(event)
    logger.info("machine changed", machine=change.machine, done=flow()(change.machine, change.alive))
