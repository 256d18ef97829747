"""A person's decision, by `aws lambda invoke` (`make rollback`) -> what rolls falls, or a release of theirs; an answer.

The event is events/contracts/decision.json. Who may invoke the function may decide; `by` is what they say of
themselves, and CloudTrail has who invoked it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from controlplane import wiring

logger = Logger()
flow = cache(wiring.on_person_decided)


def parse(event: Any) -> Any:
    """As it is: what is wrong with it is told to the person, not raised."""
    return event


@logger.inject_lambda_context
def handler(event: Any, context: Any) -> dict[str, Any]:
    answer = flow()(parse(event), context.aws_request_id)
    logger.info("person decided", **answer)
    return answer
