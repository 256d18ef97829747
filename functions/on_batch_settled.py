"""A delayed message of the batch queue -> the batch settles: snapshot, run, machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from controlplane import wiring

logger = Logger()
flow = cache(wiring.on_batch_settled)


@dataclass(frozen=True)
class Ring:
    """`dataset` None: no batch, only look at the queue of runs."""

    dataset: str | None
    batch: str
    as_of: datetime | None


def parse(event: dict[str, Any]) -> Ring:
    told = json.loads(event["Records"][0]["body"])  # the event source's BatchSize is 1
    as_of = told.get("as_of")
    return Ring(told.get("dataset"), told.get("batch", ""), datetime.fromisoformat(as_of) if as_of else None)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: object) -> None:
    ring = parse(event)
    logger.info("timer rang", batch=ring.batch, done=flow()(ring.dataset, ring.batch, ring.as_of))
