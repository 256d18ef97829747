"""A bucket of moto, and a model that was trained in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.trainer.bench import Bench, as_csv, in_memory, reviews


@pytest.fixture
def bench() -> Iterator[Bench]:
    with in_memory() as made:
        yield made


@pytest.fixture
def trained(bench: Bench) -> Bench:
    bench.ask("first", bench.drop("raw/a (1) + ñ.csv", as_csv(reviews(400))))
    assert bench.run("first") == 0
    return bench
