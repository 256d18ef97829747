"""The hook as ECS calls it: in with its documented event, out with its documented answer."""

from __future__ import annotations

import json
from typing import Any

import on_traffic_shifting
import pytest
from controlplane.domain.shifting import May, Shift

from tests.handlers.samples import sample


class Answering:
    def __init__(self, shift: Shift) -> None:
        self.shift, self.services = shift, list[tuple[str, str]]()

    def __call__(self, service: str, revision: str) -> Shift:
        self.services.append((service, revision.rpartition("/")[2]))
        return self.shift


@pytest.mark.parametrize(
    ("may", "answer"),
    [
        (May.SUCCEEDED, {"hookStatus": "SUCCEEDED"}),
        (May.FAILED, {"hookStatus": "FAILED"}),
        (May.IN_PROGRESS, {"hookStatus": "IN_PROGRESS", "callBackDelay": 10}),
    ],
)
def test_it_answers_in_ecs_own_words(
    may: May, answer: dict[str, Any], context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering = Answering(Shift(may, "why"))
    monkeypatch.setattr(on_traffic_shifting, "flow", lambda: answering)
    told = on_traffic_shifting.handler(sample("on_traffic_shifting"), context)
    assert json.loads(json.dumps(told)) == answer
    assert answering.services == [("tidegate-local-service", "9313423515462893900")]
