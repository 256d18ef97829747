"""S3 "Object Created" on models/<run id>/manifest.json -> model recorded, gate decided, release proposed."""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from controlplane import wiring

logger = Logger()
flow = cache(wiring.on_model_published)


def parse(event: dict[str, Any]) -> str | None:
    """The run id; None for a manifest further down, which is not a model's."""
    parts = event["detail"]["object"]["key"].split("/")
    return str(parts[1]) if len(parts) == 3 else None


@logger.inject_lambda_context(correlation_id_path="id")
def handler(event: dict[str, Any], context: object) -> None:
    run_id = parse(event)
    done = flow()(run_id) if run_id else ["ignored: not a model's manifest"]
    logger.info("model published", run=run_id, done=done)
