"""S3 "Object Created" on raw/ (through SQS) -> a drop in its batch, or in quarantine with a report.

docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html. The key of an EventBridge event is raw: it is never
URL-decoded here.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from controlplane import wiring
from controlplane.domain.drops import Drop

logger = Logger()
flow = cache(wiring.on_data_dropped)


def parse(event: dict[str, Any]) -> Drop:
    told = event["detail"]["object"]
    return Drop(
        key=told["key"],
        etag=told["etag"],
        size=told["size"],
        version_id=told.get("version-id"),
        sequencer=told.get("sequencer", ""),
    )


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    failed = []
    for message in event["Records"]:
        try:
            drop = parse(json.loads(message["body"]))
            logger.info("drop", key=drop.key, drop=drop.drop_id, became=flow()(drop))
        except Exception:  # noqa: BLE001  one bad message must not take its neighbours along; SQS tries it again
            logger.exception("message goes back to its queue", sqs_message=message["messageId"])
            failed.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failed}
