"""Sample events of the repository, variants in the shapes that AWS documents, and settings for a small stack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EVENTS = Path(__file__).resolve().parents[2] / "events"
SETTINGS = {
    "LEDGER_TABLE": "ledger",
    "BUCKET": "data",
    "TEXT_COLUMN": "",
    "LABEL_COLUMN": "",
    "QUIET_SECONDS": "60",
    "MAX_WAIT_SECONDS": "900",
    "REPOSITORY_URI": "1.ecr/inference",
    "PLACEHOLDER_IMAGE": "python:3",
    "LAUNCH_TEMPLATE_ID": "lt-1",
    "LAUNCH_TEMPLATE_VERSION": "1",
    "SUBNET_IDS": "s-a,s-b",
    "INSTANCE_TYPES": "c6i.large",
    "STACK": "ours",
    "MAX_CONCURRENT_RUNS": "2",
    "MAX_ATTEMPTS": "3",
    "SPOT_ATTEMPTS": "3",
    "DEADLINE_HOURS": "24",
    "GUARD_GROUP": "machines",
    "GUARD_ROLE_ARN": "arn:aws:iam::000000000000:role/guard",
    "MAX_RUN_HOURS": "4",
    "MAX_RUN_COST": "5",
    "MONTHLY_BUDGET": "0",
    "MAX_REJECTED_SHARE": "0.05",
    "MAX_DATA_SHIFT": "0.5",
    "RECIPE": "linear",
    "TRAINER_IMAGE": "",
    "ENCODER_PREFIX": "",
    "CAPACITY_WAIT_SECONDS": "120",
}


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


def dropped(name: str = "on_data_dropped") -> dict[str, Any]:
    """The EventBridge event inside the SQS message."""
    event: dict[str, Any] = json.loads(sample(name)["Records"][0]["body"])
    return event


def message(body: object, message_id: str = "m-1") -> dict[str, Any]:
    return {
        "messageId": message_id,
        "body": body if isinstance(body, str) else json.dumps(body),
        "eventSource": "aws:sqs",
        "attributes": {"ApproximateReceiveCount": "1"},
    }
