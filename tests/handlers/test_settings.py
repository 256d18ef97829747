"""Settings are read once, typed, and all that is wrong is named together."""

from __future__ import annotations

import pytest
from controlplane.settings import BadSettings, OnStackDeploying, _Runs

from tests.handlers.samples import SETTINGS


def test_a_function_reads_its_own_variables_alone() -> None:
    settings = OnStackDeploying.load({**SETTINGS, "ANOTHER": "x"})
    assert settings == OnStackDeploying("ledger", "data", "1.ecr/inference", "python:3")


def test_numbers_become_numbers() -> None:
    settings = _Runs.load({**SETTINGS, "BATCH_QUEUE_URL": "q", "ALERTS_TOPIC_ARN": "t"})
    assert (settings.max_attempts, settings.max_run_hours, settings.max_rejected_share) == (3, 4.0, 0.05)


def test_all_that_is_missing_or_malformed_is_named() -> None:
    with pytest.raises(BadSettings) as told:
        _Runs.load({**SETTINGS, "MAX_ATTEMPTS": "many", "ALERTS_TOPIC_ARN": "t"})
    assert "BATCH_QUEUE_URL" in str(told.value)
    assert "MAX_ATTEMPTS" in str(told.value)
    assert "LEDGER_TABLE" not in str(told.value)
