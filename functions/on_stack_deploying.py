"""CloudFormation custom resource ServingRelease -> the image and the model that serve now, or the placeholder.

docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from controlplane import wiring

logger = Logger()
flow = cache(wiring.on_stack_deploying)


@dataclass(frozen=True)
class Request:
    kind: str
    answer_to: str
    echoed: dict[str, str]


def parse(event: dict[str, Any]) -> Request:
    names = ("StackId", "RequestId", "LogicalResourceId")
    return Request(event["RequestType"], event["ResponseURL"], {name: event[name] for name in names})


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: object) -> None:
    request = parse(event)
    try:
        data = {} if request.kind == "Delete" else flow()()
        told: dict[str, Any] = {"Status": "SUCCESS", "Data": data}
    except Exception as fault:  # noqa: BLE001  CloudFormation would wait for an answer
        logger.exception("ServingRelease failed")
        told = {"Status": "FAILED", "Reason": f"{type(fault).__name__}: {fault}"}
    answer(request, told)
    logger.info("told CloudFormation what serves", kind=request.kind, image=told.get("Data", {}).get("Image"))


def answer(request: Request, told: dict[str, Any]) -> None:
    """PUT to the presigned URL. Its signature covers an empty content type."""
    body = json.dumps({**request.echoed, "PhysicalResourceId": "serving-release", **told}).encode()
    put = urllib.request.Request(request.answer_to, data=body, method="PUT", headers={"Content-Type": ""})
    with urllib.request.urlopen(put, timeout=10):
        pass
