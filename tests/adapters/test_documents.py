"""Whatever the ledger stores comes back as it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from controlplane.adapters.documents import decode, encode
from controlplane.domain.alarms import Answer
from controlplane.domain.alerts import Alert
from controlplane.domain.batches import Batch
from controlplane.domain.drops import Drop
from controlplane.domain.releases import Release
from controlplane.domain.rollout import Rollout
from controlplane.domain.runs import Queue, Run
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.flows.fakes import NOON

STORED: list[type[Any]] = [Alert, Answer, Batch, Drop, Queue, Release, Rollout, Run]
st.register_type_strategy(datetime, st.datetimes(timezones=st.just(UTC)))
st.register_type_strategy(str, st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))


@pytest.mark.parametrize("kind", STORED, ids=lambda kind: kind.__name__)
def test_what_is_stored_comes_back(kind: type[Any]) -> None:
    @settings(max_examples=40, deadline=None, database=None)
    @given(st.from_type(kind))
    def comes_back(value: Any) -> None:
        assert decode(kind, encode(value)) == value

    comes_back()


def test_a_field_that_a_later_version_wrote_is_left_out() -> None:
    document = json.loads(encode(Drop("raw/a.csv", "e", 1)))
    assert decode(Drop, json.dumps({**document, "later": 1})) == Drop("raw/a.csv", "e", 1)


def test_a_field_that_an_earlier_version_lacked_has_its_default() -> None:
    document = json.loads(encode(Run("a", "b", "c", NOON)))
    del document["stints"], document["reason"]
    assert decode(Run, json.dumps(document)) == Run("a", "b", "c", NOON)


def test_letters_of_all_scripts_stay_readable() -> None:
    assert "größe日本" in encode(Drop("raw/größe日本.csv", "e", 1))
