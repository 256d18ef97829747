"""The probe as Lambda runs it: it needs no AWS, and what it answers obeys its contract."""

from __future__ import annotations

from typing import Any

import on_probe_asked

from tests.architecture.test_contracts import obeys
from tests.handlers.samples import sample


def test_a_task_that_is_not_there_is_told_as_silent(context: Any) -> None:
    event = {**sample("on_probe_asked"), "addresses": ["127.0.0.1:1"]}
    told = on_probe_asked.handler(event, context)
    obeys("probe", told)
    assert [task["verdict"] for task in told["tasks"]] == ["NO_ANSWER"]


def test_its_sample_obeys_the_contract() -> None:
    obeys("probe", sample("on_probe_asked"))
