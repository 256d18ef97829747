"""S3 "Object Created" on models/<run id>/manifest.json -> model recorded, gate decided, release proposed."""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from controlplane import wiring

logger = Logger()
flow = cache(wiring.on_model_published)


def parse(event: dict[str, Any]) -> str:
    _, run_id, _ = event["detail"]["object"]["key"].split("/")
    return str(run_id)


@logger.inject_lambda_context(correlation_id_path="id")
def handler(event: dict[str, Any], context: object) -> None:
    run_id = parse(event)
    logger.info("model published", run=run_id, done=flow()(run_id))
