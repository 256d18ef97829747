"""ECR "ECR Image Scan" or Inspector's "Inspector2 Scan" -> the held release goes on, or fails with its findings.

docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html, image-scanning-enhanced-events.html there
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from controlplane import wiring

logger = Logger()
flow = cache(wiring.on_image_scanned)


@dataclass(frozen=True)
class ScanOver:
    """`status` and the event's counts are hints; what ECR says when it is asked is what counts."""

    image: str
    status: str
    at: datetime


def parse(event: dict[str, Any]) -> ScanOver:
    """The rule lets the stack's own repository through, which Inspector names by its ARN and ECR by its name."""
    told = event["detail"]
    at = datetime.fromisoformat(event["time"])
    return ScanOver(told["image-digest"], told.get("scan-status", ""), at)


@logger.inject_lambda_context(correlation_id_path="id")
def handler(event: dict[str, Any], context: object) -> None:
    scan = parse(event)
    logger.info("image scanned", image=scan.image, status=scan.status, done=flow()(scan.image, scan.at))
