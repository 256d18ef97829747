"""A function that a rule names is invoked asynchronously, as on AWS: asked again when it fails, then its event is kept.

The emulator runs it once and forgets it, so that an event is lost when the function throws, or when its process ends
under it, which a deploy may bring about. The emulator's own asynchronous invocations have retries and destinations.
docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger("tidegate.rules")


def invoked_until_it_is_done(functions: Any) -> Callable[[str, str], None]:
    """`functions` is the emulator's module. Takes the function's ARN and the event as JSON."""

    def dispatch(arn: str, payload: str) -> None:
        function, config, name = functions._get_func_record_for_ref(arn)
        if not function or not config:
            log.warning("There is no function %s for an event.", name)
            return
        functions.invoke_async_with_retry(functions._execution_record_for_config(function, config), json.loads(payload))

    return dispatch
