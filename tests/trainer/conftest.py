"""A bucket of moto, and a model that was trained in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws

from tests.trainer.bench import Bench, as_csv, reviews


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield Bench()


@pytest.fixture
def trained(bench: Bench) -> Bench:
    bench.ask("first", bench.drop("raw/a (1) + ñ.csv", as_csv(reviews(400))))
    assert bench.run("first") == 0
    return bench
