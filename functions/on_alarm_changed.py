"""CloudWatch "CloudWatch Alarm State Change" -> people told; scaled or rolled back as the alarm's policy says.

docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-and-eventbridge.html
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from controlplane import wiring
from controlplane.domain.alarms import AlarmChange

logger = Logger()
flow = cache(wiring.on_alarm_changed)


def parse(event: dict[str, Any]) -> AlarmChange:
    told = event["detail"]
    return AlarmChange(
        name=told["alarmName"],
        state=told["state"]["value"],
        previous_state=told.get("previousState", {}).get("value", ""),
        reason=told["state"].get("reason", ""),
        at=datetime.strptime(told["state"]["timestamp"], "%Y-%m-%dT%H:%M:%S.%f%z"),
        description=told.get("configuration", {}).get("description", ""),
        silenced="muteDetail" in told or "actionsSuppressedBy" in told["state"] or "actionsSuppressedBy" in told,
    )


@logger.inject_lambda_context(correlation_id_path="id")
def handler(event: dict[str, Any], context: object) -> None:
    change = parse(event)
    logger.info("alarm changed", alarm=change.name, state=change.state, done=flow()(change))
