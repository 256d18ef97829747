"""Every 5 minutes -> what best-effort events missed: compared both ways, desired with actual."""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from controlplane import wiring

logger = Logger()
flow = cache(wiring.on_reconcile_due)


def parse(event: dict[str, Any]) -> str:
    """When it was due; nothing else of the event counts."""
    return str(event.get("time") or event.get("scheduled-time") or "now")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: object) -> None:
    logger.info("reconciled", due=parse(event), found=flow()())
