"""ECR "ECR Image Action" PUSH SUCCESS -> release proposed, by digest.

docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from controlplane import wiring
from controlplane.domain.images import IgnoredPush, Push

logger = Logger()
flow = cache(wiring.on_image_pushed)


def parse(event: dict[str, Any]) -> Push:
    told = event["detail"]
    return Push(
        told["repository-name"],
        told["image-digest"],
        told.get("image-tag", ""),
        told.get("manifest-media-type", ""),
        told.get("artifact-media-type", ""),
        datetime.fromisoformat(event["time"]) if "time" in event else None,
    )


@logger.inject_lambda_context(correlation_id_path="id")
def handler(event: dict[str, Any], context: object) -> None:
    push = parse(event)
    try:
        logger.info("image pushed", digest=push.digest, tag=push.tag, done=flow()(push))
    except IgnoredPush as why:
        logger.info("push ignored", digest=push.digest, tag=push.tag, why=str(why))
