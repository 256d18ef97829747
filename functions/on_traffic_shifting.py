"""ECS lifecycle hook at POST_TEST_TRAFFIC_SHIFT -> requests are shifted when every new task proved itself.

docs.aws.amazon.com/AmazonECS/latest/developerguide/lambda-lifecycle-hooks.html (event, answer). An answer that is none,
or a failure of this function, makes ECS roll back.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from controlplane import wiring
from controlplane.domain.shifting import May

logger = Logger()
flow = cache(wiring.on_traffic_shifting)
AGAIN_AFTER = 10  # seconds; ECS's own default is 30


def parse(event: dict[str, Any]) -> tuple[str, str]:
    """The service's name, and its revision that asks."""
    told = event["executionDetails"]
    return told["serviceArn"].rpartition("/")[2], told["targetServiceRevisionArn"]


@logger.inject_lambda_context(correlation_id_path="executionId")
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    shift = flow()(*parse(event))
    logger.info("asked to shift", stage=event["lifecycleStage"], may=shift.may.value, why=shift.why)
    answer: dict[str, Any] = {"hookStatus": shift.may.value}
    return answer | ({"callBackDelay": AGAIN_AFTER} if shift.may is May.IN_PROGRESS else {})
