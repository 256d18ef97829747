"""Runs in the ledger, with their machines and what they cost: one contract, in memory and on DynamoDB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from controlplane.adapters.dynamo_ledger import DynamoLedger
from controlplane.domain.batches import Batch
from controlplane.domain.drops import Drop
from controlplane.domain.estimates import Estimate, Pace
from controlplane.domain.money import Bill
from controlplane.domain.pools import Ask, Pool, Rest, pools_of
from controlplane.domain.prices import Quote
from controlplane.domain.runs import Machine, RunState
from controlplane.ports import Conflict, Ledger, Record

from tests.adapters.ledgers import ACCEPTED, ALERT, CHANGED, PRICES, RUN, never, queued, table
from tests.flows.fakes import NOON


class TestRuns:
    def test_a_run_comes_back_as_it_was_saved(self, ledger: Ledger) -> None:
        run = queued(ledger).claimed(NOON).on(Machine("i-1", "c6i.large", "a", "spot"), NOON, PRICES)
        run = run.without_machine(NOON + timedelta(minutes=3))
        saved = ledger.save_run(run, CHANGED)
        assert saved == replace(run, version=2)
        assert ledger.run("films-1") == saved

    def test_of_two_that_claim_one_wins(self, ledger: Ledger) -> None:
        run, queue = queued(ledger), ledger.queue()
        ledger.save_run(run.claimed(NOON), CHANGED, queue=queue.with_active(run))
        with pytest.raises(Conflict):
            ledger.save_run(run.claimed(NOON), CHANGED, queue=ledger.queue().with_active(run))

    def test_a_queue_that_moved_stops_the_run_too(self, ledger: Ledger) -> None:
        run, stale = queued(ledger), ledger.queue()
        queued(ledger, replace(RUN, run_id="books-1", dataset="books"))
        with pytest.raises(Conflict):
            ledger.save_run(
                run.claimed(NOON),
                CHANGED,
                queue=stale.with_active(run),
                alerts=[ALERT],
                champion="films-1",
                baseline="films-1",
            )
        assert ledger.run("films-1") == run
        assert ledger.baseline("films") is None
        assert (ledger.champion("films"), list(ledger.unsent())) == (None, [])

    def test_a_champion_is_written_with_its_run(self, ledger: Ledger) -> None:
        ledger.save_run(queued(ledger), CHANGED, champion="films-1", baseline="films-1", alerts=[ALERT])
        assert (ledger.champion("films"), ledger.baseline("films")) == ("films-1", "films-1")
        assert ledger.is_noted(ALERT.alert_id)


class TestPoolsAndSuspects:
    def test_a_pools_rest_is_stored_with_the_run_and_the_last_one_counts(self, ledger: Ledger) -> None:
        run = queued(ledger)
        pool, other = Pool("c6i.large", "s-a"), Pool("m5.large", "s-b")
        first = [Rest(pool, "spot", NOON, "refused"), Rest(pool, "on-demand", NOON, "refused")]
        run = ledger.save_run(run, CHANGED, rests=[*first, Rest(other, "spot", NOON, "interrupted")])
        later = Rest(pool, "spot", NOON + timedelta(hours=1), "interrupted")
        ledger.save_run(run, CHANGED, rests=[later])
        wanted = {first[1], Rest(other, "spot", NOON, "interrupted"), later}
        assert set(ledger.rests()) == wanted

    def test_a_pool_that_was_told_of_twice_is_stored_once(self, ledger: Ledger) -> None:
        pool = Pool("c6i.large", "s-a")
        told = [Rest(pool, "spot", NOON, "InsufficientInstanceCapacity"), Rest(pool, "spot", NOON, "Unfulfillable")]
        ledger.save_run(queued(ledger), CHANGED, rests=told)
        assert list(ledger.rests()) == told[1:]

    def test_any_number_of_pools_can_rest_at_once(self, ledger: Ledger) -> None:
        pools = pools_of([f"c{size}.large" for size in range(30)], ["s-a", "s-b", "s-c", "s-d"])
        rests = {Rest(pool, "spot", NOON, "refused") for pool in pools}
        ledger.save_run(queued(ledger), CHANGED, rests=list(rests))
        assert set(ledger.rests()) == rests

    def test_a_change_that_is_refused_rests_no_pool(self, ledger: Ledger) -> None:
        run = queued(ledger)
        ledger.save_run(run, CHANGED)
        with pytest.raises(Conflict):
            ledger.save_run(run, CHANGED, rests=[Rest(Pool("c6i.large", "s-a"), "spot", NOON, "refused")])
        assert list(ledger.rests()) == []

    def test_a_suspect_is_one_since_it_was_first_seen_and_until_it_is_cleared(self, ledger: Ledger) -> None:
        assert ledger.suspects() == {}
        ledger.suspect("i-1", Record(NOON, "machine i-1", "running", "SUSPECTED", "no run"))
        ledger.suspect("i-1", Record(NOON + timedelta(minutes=5), "machine i-1", "running", "SUSPECTED", "no run"))
        ledger.suspect("i-2", Record(NOON, "machine i-2", "running", "SUSPECTED", "no run"))
        assert ledger.suspects() == {"i-1": NOON, "i-2": NOON}
        ledger.cleared("i-1")
        ledger.cleared("i-3")
        assert ledger.suspects() == {"i-2": NOON}

    def test_a_replaced_run_ends_in_one_piece_with_the_one_that_takes_its_place(self, ledger: Ledger) -> None:
        older = queued(ledger)
        newer = replace(RUN, run_id="films-2")
        batch = Batch.opened("films", NOON).with_accepted(NOON)
        ledger.take_in(Drop("raw/films/b.csv", "e", 1), batch, ledger.batch("films"), ACCEPTED)
        ended = older.ended(RunState.CANCELLED, "replaced", NOON)
        queue = ledger.queue().with_waiting(newer)
        ledger.close(batch, run=newer, queue=queue, alerts=[], records=[CHANGED], replaced=ended)
        stored = ledger.run("films-1")
        assert stored and (stored.state, stored.version) == (RunState.CANCELLED, older.version + 1)
        assert ledger.queue().waiting == (("films-2", "films"),)

    def test_what_the_attempt_asked_for_is_kept(self, ledger: Ledger) -> None:
        asked = queued(ledger).claimed(NOON, Ask("on-demand", pools_of(["c6i.large"], ["s-a", "s-b"])))
        ledger.save_run(asked, CHANGED)
        stored = ledger.run("films-1")
        assert stored and stored.ask == asked.ask


class TestMoney:
    def test_a_machine_is_billed_once_however_often_its_end_is_told(self, ledger: Ledger) -> None:
        run = queued(ledger).claimed(NOON).on(Machine("i-1", "c6i.large", "a", "spot"), NOON, PRICES)
        run = ledger.save_run(run, CHANGED)
        assert list(ledger.bills("2026-01")) == []
        run = ledger.save_run(run.without_machine(NOON + timedelta(hours=1)), CHANGED)
        ledger.save_run(run.without_machine(NOON + timedelta(hours=9)), CHANGED)
        assert list(ledger.bills("2026-01")) == [Bill("i-1", "films-1", 0.06, "2026-01")]
        assert list(ledger.bills("2026-02")) == []

    def test_a_pace_is_written_with_its_run_and_is_the_last_one_of_its_dataset(self, ledger: Ledger) -> None:
        pace = Pace("films-1", "films", "linear", 100, 9000, 21.5, 40.0, NOON)
        run = ledger.save_run(queued(ledger), CHANGED, pace=replace(pace, rows=1))
        ledger.save_run(run, CHANGED, pace=pace)
        assert list(ledger.paces("linear")) == [pace]
        assert list(ledger.paces("transformer")) == []

    def test_a_quote_is_kept_and_replaced(self, ledger: Ledger) -> None:
        ledger.keep_quote(Quote("c6i.large", 0.1, NOON))
        ledger.keep_quote(Quote("c6i.large", 0.085, NOON))
        assert list(ledger.quotes()) == [Quote("c6i.large", 0.085, NOON)]

    def test_a_runs_estimate_comes_back_as_it_was_saved(self, ledger: Ledger) -> None:
        run = replace(queued(ledger), estimate=Estimate(100, 2.5, None, "guessed"), allowance=4.5)
        assert ledger.save_run(run, CHANGED) == ledger.run("films-1")


def test_what_a_run_cost_is_logged_once_when_its_last_machine_is_gone(
    aws: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = DynamoLedger(table(aws), "ledger", never)
    run = queued(ledger).claimed(NOON).on(Machine("i-1", "c6i.large", "a", "spot"), NOON, PRICES)
    over = run.without_machine(NOON + timedelta(minutes=5), gone=False).ended(RunState.FAILED, "No.")
    over = ledger.save_run(over, CHANGED)
    assert "dollars" not in capsys.readouterr().out
    ledger.save_run(over.machine_ended("i-1", NOON + timedelta(hours=1), "failed", "No."), CHANGED)
    assert capsys.readouterr().out.count('"dollars": 0.06') == 1
