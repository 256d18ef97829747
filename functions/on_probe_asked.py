"""A rollout asks -> new tasks prove themselves, each at its own address: release, readiness, golden set.

It runs in the service's subnets and may call nothing of AWS. Question and answer: events/contracts/probe.json.
docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from controlplane import wiring
from controlplane.domain.probes import GoldenRow, Question

logger = Logger()
TO_TELL = 5.0  # seconds of the function's time, to answer in
flow = cache(wiring.on_probe_asked)


@dataclass(frozen=True)
class Asked:
    question: Question
    addresses: Sequence[str]


def parse(event: dict[str, Any]) -> Asked:
    rows = tuple(GoldenRow(row["text"], row["label"]) for row in event["rows"])
    return Asked(Question(event["release"], event["digest"], event["model"], rows), event["addresses"])


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    asked = parse(event)
    proofs = flow()(asked.question, asked.addresses, context.get_remaining_time_in_millis() / 1000 - TO_TELL)
    told = [{"address": address, "verdict": proof.verdict.value, "why": proof.why} for address, proof in proofs]
    logger.info("tasks asked", release=asked.question.release, tasks=told)
    return {"tasks": told}
