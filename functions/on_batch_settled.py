"""A delayed message of the batch queue -> the batch settles: snapshot, run, machine; or a warned machine is seen to."""

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
    """A batch, or a machine that was warned; neither: only look at the queue of runs."""

    dataset: str | None
    batch: str
    as_of: datetime | None
    machine: str | None = None


def parse(event: dict[str, Any]) -> Ring:
    told = json.loads(event["Records"][0]["body"])  # the event source's BatchSize is 1
    as_of = told.get("as_of")
    at = datetime.fromisoformat(as_of) if as_of else None
    return Ring(told.get("dataset"), told.get("batch", ""), at, told.get("machine"))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: object) -> None:
    ring = parse(event)
    done = flow()(ring.dataset, ring.batch, ring.as_of, ring.machine)
    logger.info("timer rang", batch=ring.batch, machine=ring.machine, done=done)
