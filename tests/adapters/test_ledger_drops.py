"""Drops and batches in the ledger: one contract, for the one in memory and for the one on DynamoDB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from controlplane.adapters.dynamo_ledger import DynamoLedger
from controlplane.domain.batches import Batch
from controlplane.domain.drops import Drop, Finding
from controlplane.domain.rollout import Rollout
from controlplane.domain.runs import Queue
from controlplane.ports import Conflict, Ledger

from tests.adapters.ledgers import ACCEPTED, ALERT, BATCH, CHANGED, DROP, REFUSED, RUN, never, queued, table
from tests.flows.fakes import NOON


class TestDropsAndBatches:
    def test_an_empty_ledger_knows_nothing(self, ledger: Ledger) -> None:
        assert ledger.batch("films") is None
        assert ledger.batch_of(DROP) is None
        assert [*ledger.open_batches(), *ledger.accepted_drops("films"), *ledger.unsent()] == []
        assert ledger.run("films-1") is None
        assert ledger.champion("films") is None
        assert (ledger.queue(), ledger.rollout()) == (Queue(), Rollout())

    def test_a_drop_is_taken_in_with_its_batch(self, ledger: Ledger) -> None:
        ledger.take_in(DROP, BATCH, None, ACCEPTED)
        assert ledger.batch("films") == BATCH
        assert ledger.batch_of(DROP) == BATCH.batch_id
        assert list(ledger.accepted_drops("films")) == [DROP]
        assert list(ledger.open_batches()) == [BATCH]

    def test_a_refused_drop_is_known_but_not_accepted(self, ledger: Ledger) -> None:
        batch = Batch.opened("films", NOON).with_refused(DROP, Finding("empty", "Empty."), NOON)
        ledger.take_in(DROP, batch, None, REFUSED)
        assert ledger.batch_of(DROP) == batch.batch_id
        assert list(ledger.accepted_drops("films")) == []
        assert ledger.batch("films") == batch

    def test_the_same_drop_twice_is_a_conflict_and_changes_nothing(self, ledger: Ledger) -> None:
        ledger.take_in(DROP, BATCH, None, ACCEPTED)
        with pytest.raises(Conflict):
            ledger.take_in(DROP, BATCH.with_accepted(NOON), BATCH, ACCEPTED)
        assert ledger.batch("films") == BATCH

    @pytest.mark.parametrize("before", [None, BATCH.with_accepted(NOON)])
    def test_a_batch_that_moved_meanwhile_is_a_conflict_and_the_drop_stays_new(
        self, ledger: Ledger, before: Batch | None
    ) -> None:
        ledger.take_in(DROP, BATCH, None, ACCEPTED)
        other = replace(DROP, etag="other")
        with pytest.raises(Conflict):
            ledger.take_in(other, BATCH.with_accepted(NOON), before, ACCEPTED)
        assert ledger.batch_of(other) is None
        assert list(ledger.accepted_drops("films")) == [DROP]

    def test_datasets_are_kept_apart(self, ledger: Ledger) -> None:
        ledger.take_in(DROP, BATCH, None, ACCEPTED)
        other = Drop("raw/日本/a.csv", "e", 1)
        ledger.take_in(other, Batch.opened("日本", NOON), None, ACCEPTED)
        assert list(ledger.accepted_drops("日本")) == [other]
        assert {batch.dataset for batch in ledger.open_batches()} == {"films", "日本"}

    def test_many_drops_are_all_found_again(self, ledger: Ledger) -> None:
        batch = None
        for number in range(40):
            after = (batch or Batch.opened("films", NOON)).with_accepted(NOON)
            ledger.take_in(Drop(f"raw/films/{number}.csv", "e", 1), after, batch, ACCEPTED)
            batch = after
        assert len({drop.key for drop in ledger.accepted_drops("films")}) == 40

    def test_a_closed_batch_is_gone_and_its_run_waits(self, ledger: Ledger) -> None:
        ledger.take_in(DROP, BATCH, None, ACCEPTED)
        ledger.close(BATCH, run=RUN, queue=ledger.queue().with_waiting(RUN), alerts=[ALERT], records=[CHANGED])
        assert ledger.batch("films") is None
        assert ledger.run("films-1") == replace(RUN, version=1)
        assert ledger.queue() == Queue(waiting=(("films-1", "films"),), version=1)
        assert list(ledger.unsent()) == [ALERT]
        assert list(ledger.accepted_drops("films")) == [DROP]

    def test_a_batch_without_a_run_leaves_the_queue_alone(self, ledger: Ledger) -> None:
        ledger.take_in(DROP, BATCH, None, ACCEPTED)
        ledger.close(BATCH, run=None, queue=ledger.queue(), alerts=[], records=[CHANGED])
        assert ledger.batch("films") is None
        assert ledger.queue() == Queue()

    def test_a_batch_that_got_another_drop_cannot_be_closed(self, ledger: Ledger) -> None:
        ledger.take_in(DROP, BATCH, None, ACCEPTED)
        more = BATCH.with_accepted(NOON + timedelta(seconds=1))
        ledger.take_in(replace(DROP, etag="other"), more, BATCH, ACCEPTED)
        with pytest.raises(Conflict):
            ledger.close(BATCH, run=RUN, queue=ledger.queue(), alerts=[ALERT], records=[CHANGED])
        assert (ledger.batch("films"), ledger.run("films-1"), list(ledger.unsent())) == (more, None, [])

    def test_a_queue_that_moved_keeps_the_batch_open(self, ledger: Ledger) -> None:
        stale = ledger.queue()
        queued(ledger, replace(RUN, run_id="books-1", dataset="books"))
        ledger.take_in(DROP, BATCH, None, ACCEPTED)
        with pytest.raises(Conflict):
            ledger.close(BATCH, run=RUN, queue=stale.with_waiting(RUN), alerts=[], records=[CHANGED])
        assert (ledger.batch("films"), ledger.run("films-1")) == (BATCH, None)

    def test_a_run_is_queued_once(self, ledger: Ledger) -> None:
        queued(ledger)
        ledger.take_in(DROP, BATCH, None, ACCEPTED)
        with pytest.raises(Conflict):
            ledger.close(BATCH, run=RUN, queue=ledger.queue(), alerts=[], records=[CHANGED])


def test_every_change_is_in_the_history_and_in_the_log(
    aws: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    dynamodb = table(aws)
    DynamoLedger(dynamodb, "ledger", never).take_in(DROP, BATCH, None, ACCEPTED)
    items = dynamodb.query(
        TableName="ledger",
        KeyConditionExpression="kind = :kind",
        ExpressionAttributeValues={":kind": {"S": "history 2026-01"}},
    )["Items"]
    assert [item["id"]["S"] for item in items] == ["2026-01-01T12:00:00+00:00 drop 1 ACCEPTED"]
    assert '"subject": "drop 1", "was": "", "now": "ACCEPTED"' in capsys.readouterr().out
