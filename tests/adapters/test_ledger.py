"""One contract for the ledger, held to by the one in memory and by the one on DynamoDB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from controlplane.adapters.dynamo_ledger import DynamoLedger
from controlplane.domain.alarms import Answer
from controlplane.domain.alerts import Alert
from controlplane.domain.batches import Batch
from controlplane.domain.drops import Drop, Finding
from controlplane.domain.estimates import Estimate, Pace
from controlplane.domain.money import Bill
from controlplane.domain.pools import Ask, Pool, Rest, pools_of
from controlplane.domain.prices import PriceList, Quote
from controlplane.domain.releases import Release, Rollout
from controlplane.domain.runs import Machine, Queue, Run, RunState
from controlplane.ports import Conflict, Ledger, Record, TryAgain

from tests.flows.fakes import NOON, FakeLedger

ACCEPTED = Record(NOON, "drop 1", "", "ACCEPTED", "joined")
REFUSED = Record(NOON, "drop 2", "", "QUARANTINED", "empty")
CHANGED = Record(NOON, "run films-1", "QUEUED", "LAUNCHING", "attempt 1")
RUN = Run("films-1", "films", "sha256:0", NOON)
DROP = Drop("raw/films/größe\n+%20.csv", "etag", 10, "v1")
BATCH = Batch.opened("films", NOON).with_accepted(NOON)
PRICES = PriceList({("c6i.large", "a"): 0.06}, {"c6i.large": 0.1})
ALERT = Alert("run films-1 FAILED", "Tidegate: run failed", "Why: größe\n")


@pytest.fixture(params=["fake", "dynamodb"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    if request.param == "fake":
        return FakeLedger()
    return DynamoLedger(table(request.getfixturevalue("aws")), "ledger", never)


def never(number: int) -> None:
    raise AssertionError(f"waited before try {number}, but DynamoDB is not busy")


class TestABusyTable:
    """A transaction that was cancelled was not written, and the reasons say why."""

    def ledger(
        self, stubbed: Callable[[str], tuple[Any, Stubber]], *answers: list[str]
    ) -> tuple[DynamoLedger, list[int]]:
        client, stub = stubbed("dynamodb")
        for codes in answers:
            if not codes:
                stub.add_response("transact_write_items", {})
                continue
            reasons = [{"Code": code} for code in codes]
            modeled = {"CancellationReasons": reasons}
            stub.add_client_error("transact_write_items", "TransactionCanceledException", modeled_fields=modeled)
        waited: list[int] = []
        return DynamoLedger(client, "ledger", waited.append), waited

    def test_is_asked_again_after_pauses(self, stubbed: Callable[[str], tuple[Any, Stubber]]) -> None:
        ledger, waited = self.ledger(stubbed, ["None", "ThrottlingError"], ["TransactionConflict"], [])
        ledger.save_rollout(Rollout(), [], [])
        assert waited == [1, 2]

    def test_is_left_for_later_in_the_end(self, stubbed: Callable[[str], tuple[Any, Stubber]]) -> None:
        ledger, waited = self.ledger(stubbed, *[["ThrottlingError"]] * 6)
        with pytest.raises(TryAgain) as told:
            ledger.save_rollout(Rollout(), [], [])
        assert (waited, isinstance(told.value, Conflict)) == ([1, 2, 3, 4, 5], False)

    def test_a_change_by_somebody_else_is_a_conflict_at_once(
        self, stubbed: Callable[[str], tuple[Any, Stubber]]
    ) -> None:
        ledger, waited = self.ledger(stubbed, ["ConditionalCheckFailed", "TransactionConflict"])
        with pytest.raises(Conflict):
            ledger.save_rollout(Rollout(), [], [])
        assert waited == []

    def test_a_mistake_of_ours_is_raised(self, stubbed: Callable[[str], tuple[Any, Stubber]]) -> None:
        ledger, waited = self.ledger(stubbed, ["ValidationError"])
        with pytest.raises(ClientError):
            ledger.save_rollout(Rollout(), [], [])
        assert waited == []


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


class TestTheRollout:
    def test_it_comes_back_as_it_was_saved(self, ledger: Ledger) -> None:
        rollout, changed = Rollout().propose("push sha256:1 v1", NOON, image="sha256:1", model="m")
        saved = ledger.save_rollout(rollout, changed, [CHANGED])
        assert saved == replace(rollout, version=1)
        started, release = saved.start(NOON)
        assert release
        ledger.save_rollout(started.deploying("ecs-svc/1"), [release], [CHANGED], [ALERT])
        assert ledger.rollout() == replace(started.deploying("ecs-svc/1"), version=2)
        assert list(ledger.unsent()) == [ALERT]

    def test_one_that_moved_meanwhile_is_a_conflict(self, ledger: Ledger) -> None:
        first = ledger.rollout()
        ledger.save_rollout(first, [], [])
        with pytest.raises(Conflict):
            ledger.save_rollout(first, [Release(1, "c", None, None)], [], [ALERT])
        assert list(ledger.unsent()) == []


class TestAlerts:
    def test_an_alert_is_noted_once_for_ever(self, ledger: Ledger) -> None:
        ledger.note([ALERT], CHANGED)
        ledger.sent(ALERT)
        ledger.note([replace(ALERT, body="again")], CHANGED)
        assert list(ledger.unsent()) == []
        assert ledger.is_noted(ALERT.alert_id)
        assert not ledger.is_noted("another")

    def test_unsent_ones_stay_until_they_are_crossed_off(self, ledger: Ledger) -> None:
        other = replace(ALERT, alert_id="z")
        ledger.note([ALERT, other], CHANGED)
        assert sorted(alert.alert_id for alert in ledger.unsent()) == sorted([ALERT.alert_id, "z"])
        ledger.sent(ALERT)
        ledger.sent(ALERT)
        assert list(ledger.unsent()) == [other]

    def test_one_function_at_a_time_may_send_it(self, ledger: Ledger) -> None:
        ledger.note([ALERT], CHANGED)
        assert ledger.claim(ALERT, NOON)
        assert not ledger.claim(ALERT, NOON + timedelta(seconds=59))
        assert list(ledger.unsent()) == [ALERT]
        assert ledger.claim(ALERT, NOON + timedelta(seconds=62))

    def test_a_sent_one_cannot_be_claimed(self, ledger: Ledger) -> None:
        ledger.note([ALERT], CHANGED)
        ledger.sent(ALERT)
        assert not ledger.claim(ALERT, NOON)
        assert list(ledger.unsent()) == []

    def test_the_first_answer_to_an_incident_stays(self, ledger: Ledger) -> None:
        first = Answer("Going back.", "Look.", roll_back_to=Release(1, "push v1", "sha256:1", "m", since=NOON))
        assert ledger.decided("alarm x", first) == first
        assert ledger.decided("alarm x", Answer("Nothing.", "Look.")) == first
        assert ledger.decided("alarm y", Answer("Nothing.", "Look.", scale_to=3)).scale_to == 3


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


def test_what_lay_in_the_repository_is_kept_for_the_next_look(ledger: Ledger) -> None:
    assert ledger.tags_seen() is None
    for seen in (frozenset({"sha256:1 v1", "sha256:1 größe"}), frozenset({"sha256:2 v2"}), frozenset[str]()):
        ledger.keep_tags_seen(seen)
        assert ledger.tags_seen() == seen


def test_every_release_is_known_by_number_as_it_was_stored_last(ledger: Ledger) -> None:
    assert ledger.all_releases() == []
    several = [replace(Release(number, f"c{number}", "sha256:1", None), takes_back=1) for number in (10, 9, 2)]
    saved = ledger.save_rollout(Rollout(), several, [CHANGED])
    failed = replace(several[0], reason="it broke", refused_by_scan=True, overridden=True)
    ledger.save_rollout(saved, [failed], [CHANGED])
    assert ledger.all_releases() == [several[2], several[1], failed]
