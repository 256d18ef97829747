"""What tests of the ledger start from: a table of DynamoDB, a few things to store, and a run in the queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controlplane.domain.alerts import Alert
from controlplane.domain.batches import Batch
from controlplane.domain.drops import Drop
from controlplane.domain.prices import PriceList
from controlplane.domain.runs import Run
from controlplane.ports import Ledger, Record

from tests.flows.fakes import NOON

ACCEPTED = Record(NOON, "drop 1", "", "ACCEPTED", "joined")
REFUSED = Record(NOON, "drop 2", "", "QUARANTINED", "empty")
CHANGED = Record(NOON, "run films-1", "QUEUED", "LAUNCHING", "attempt 1")
RUN = Run("films-1", "films", "sha256:0", NOON)
DROP = Drop("raw/films/größe\n+%20.csv", "etag", 10, "v1")
BATCH = Batch.opened("films", NOON).with_accepted(NOON)
PRICES = PriceList({("c6i.large", "a"): 0.06}, {"c6i.large": 0.1})
ALERT = Alert("run films-1 FAILED", "Tidegate: run failed", "Why: größe\n")


def never(number: int) -> None:
    raise AssertionError(f"waited before try {number}, but DynamoDB is not busy")


def table(aws: Callable[[str], Any]) -> Any:
    """A client of DynamoDB, with the table as the template has it."""
    dynamodb = aws("dynamodb")
    dynamodb.create_table(
        TableName="ledger",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "kind", "AttributeType": "S"},
            {"AttributeName": "id", "AttributeType": "S"},
        ],
        KeySchema=[{"AttributeName": "kind", "KeyType": "HASH"}, {"AttributeName": "id", "KeyType": "RANGE"}],
    )
    return dynamodb


def queued(ledger: Ledger, run: Run = RUN) -> Run:
    """A run in the queue, as a settled batch leaves it."""
    batch = Batch.opened(run.dataset, NOON).with_accepted(NOON)
    ledger.take_in(Drop(f"raw/{run.run_id}/a.csv", "e", 1), batch, ledger.batch(run.dataset), ACCEPTED)
    ledger.close(batch, run=run, queue=ledger.queue().with_waiting(run), alerts=[], records=[CHANGED])
    stored = ledger.run(run.run_id)
    assert stored
    return stored
