"""The ledger in one DynamoDB table: an item is (kind, id), a JSON document, and a version.

    batch         <dataset>            the open batch; deleted when it is closed
    drop          <drop id>            which batch took it in
    drops <dataset>  <drop id>         an accepted drop
    run           <run id>             queue  "runs"       champion, baseline  <dataset>
    rest          <lifecycle> <type> <subnet>   a pool that is left out for a while
    suspect       <machine id>         a machine that was found without a run, and when first
    bill <yyyy-mm>  <machine>          pace <recipe>  <dataset>     quote  <machine type>
    rollout       "service"            release  <number>     tags  "seen"
    answer        <incident>           alert  <alert id>   unsent  <alert id>
    history <yyyy-mm>  <time> <subject>  append-only

A change and what belongs to it go in one transaction; a version that moved meanwhile is a Conflict. A transaction that
DynamoDB cancelled because it was busy was not written, and is asked again after a pause.
docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from ..domain.alarms import Answer
from ..domain.alerts import Alert
from ..domain.batches import Batch
from ..domain.drops import Drop
from ..domain.estimates import Pace
from ..domain.money import Bill, bills, dollars
from ..domain.pools import Rest
from ..domain.prices import Quote
from ..domain.releases import Release, Rollout
from ..domain.runs import Queue, Run
from ..ports import Conflict, Record, TryAgain
from .documents import decode, encode

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SENDING = timedelta(minutes=1)
# Reasons of a cancelled transaction that pass by themselves; boto3 does not ask again for them.
BUSY = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
TRIES = 6
RESTS_AT_ONCE = 50
T = TypeVar("T")
Item = dict[str, Any]


class DynamoLedger:
    def __init__(self, dynamodb: DynamoDBClient, table: str, pause: Callable[[int], None]) -> None:
        """`pause` waits before the n-th try again, from 1 on."""
        self._dynamodb, self._table, self._pause = dynamodb, table, pause

    # -- drops and batches --------------------------------------------------------------------------------------------
    def batch(self, dataset: str) -> Batch | None:
        return self._get(Batch, "batch", dataset)

    def open_batches(self) -> Sequence[Batch]:
        return self._all(Batch, "batch")

    def batch_of(self, drop: Drop) -> str | None:
        item = self._item("drop", drop.drop_id)
        return item["batch"]["S"] if item else None

    def take_in(self, drop: Drop, batch: Batch, before: Batch | None, record: Record) -> None:
        writes = [
            self._new("drop", drop.drop_id, encode(drop), batch={"S": batch.batch_id}),
            self._instead("batch", batch.dataset, encode(batch), encode(before) if before else None),
        ]
        if record.now == "ACCEPTED":
            writes.append(self._put(f"drops {drop.dataset}", drop.drop_id, encode(drop)))
        self._write(writes, [record])

    def accepted_drops(self, dataset: str) -> Sequence[Drop]:
        return self._all(Drop, f"drops {dataset}")

    def close(
        self,
        batch: Batch,
        *,
        run: Run | None,
        queue: Queue,
        alerts: Sequence[Alert],
        records: Sequence[Record],
        replaced: Run | None = None,
    ) -> None:
        writes = [self._gone("batch", batch.dataset, encode(batch)), *self._noted(alerts)]
        for changed in (run, replaced):
            if changed:
                stored = encode(replace(changed, version=changed.version + 1))
                writes.append(self._next("run", changed.run_id, stored, changed.version))
        if run:
            writes.append(self._queue(queue))
        self._write(writes, records)

    # -- runs ---------------------------------------------------------------------------------------------------------
    def run(self, run_id: str) -> Run | None:
        return self._get(Run, "run", run_id)

    def queue(self) -> Queue:
        return self._get(Queue, "queue", "runs") or Queue()

    def save_run(
        self,
        run: Run,
        record: Record,
        *,
        queue: Queue | None = None,
        champion: str | None = None,
        baseline: str | None = None,
        pace: Pace | None = None,
        alerts: Sequence[Alert] = (),
        rests: Sequence[Rest] = (),
    ) -> Run:
        saved = replace(run, version=run.version + 1)
        writes = [self._next("run", run.run_id, encode(saved), run.version), *self._noted(alerts)]
        # Each pool once, and no more than fit: a transaction takes 100 items, and no item twice.
        resting = {f"{rest.lifecycle} {rest.pool.machine_type} {rest.pool.subnet}": encode(rest) for rest in rests}
        put = [self._put("rest", name, doc) for name, doc in resting.items()]
        writes += put[:RESTS_AT_ONCE]
        if queue is not None:
            writes.append(self._queue(queue))
        if champion is not None:
            writes.append(self._put("champion", run.dataset, json.dumps(champion)))
        if baseline is not None:
            writes.append(self._put("baseline", run.dataset, json.dumps(baseline)))
        if pace is not None:
            writes.append(self._put(f"pace {pace.recipe}", pace.dataset, encode(pace)))
        for bill in bills(run.run_id, run.stints):
            writes.append(self._put(f"bill {bill.month}", bill.machine, encode(bill)))
        self._write(writes, [record])
        for rest in put[RESTS_AT_ONCE:]:  # one that is missing is only asked again
            self._dynamodb.put_item(**rest["Put"])
        if run.state.is_final and run.is_billed:  # it changes no more, so the sum is counted once
            cost = dollars(run.stints, record.at)
            log_line(subject=f"cost of {run.run_id}", **({} if cost is None else {"dollars": round(cost, 6)}))
        return saved

    def rests(self) -> Sequence[Rest]:
        return self._all(Rest, "rest")

    def suspects(self) -> Mapping[str, datetime]:
        return {name: datetime.fromisoformat(json.loads(doc)) for name, doc in self._documents("suspect")}

    def suspect(self, machine_id: str, record: Record) -> None:
        with contextlib.suppress(Conflict):  # it is suspected already
            self._write([self._new("suspect", machine_id, json.dumps(record.at.isoformat()))], [record])

    def cleared(self, machine_id: str) -> None:
        self._dynamodb.delete_item(TableName=self._table, Key=_key("suspect", machine_id))

    def champion(self, dataset: str) -> str | None:
        item = self._item("champion", dataset)
        return json.loads(item["doc"]["S"]) if item else None

    def baseline(self, dataset: str) -> str | None:
        item = self._item("baseline", dataset)
        return json.loads(item["doc"]["S"]) if item else None

    def paces(self, recipe: str) -> Sequence[Pace]:
        return self._all(Pace, f"pace {recipe}")

    def bills(self, month: str) -> Sequence[Bill]:
        return self._all(Bill, f"bill {month}")

    def quotes(self) -> Sequence[Quote]:
        return self._all(Quote, "quote")

    def keep_quote(self, quote: Quote) -> None:
        self._dynamodb.put_item(
            TableName=self._table, Item={**_key("quote", quote.machine_type), "doc": {"S": encode(quote)}}
        )

    # -- images -------------------------------------------------------------------------------------------------------
    def tags_seen(self) -> frozenset[str] | None:
        item = self._item("tags", "seen")
        return frozenset(json.loads(item["doc"]["S"])) if item else None

    def keep_tags_seen(self, tags: frozenset[str]) -> None:
        doc = json.dumps(sorted(tags))
        self._dynamodb.put_item(TableName=self._table, Item={**_key("tags", "seen"), "doc": {"S": doc}})

    # -- the rollout --------------------------------------------------------------------------------------------------
    def rollout(self) -> Rollout:
        return self._get(Rollout, "rollout", "service") or Rollout()

    def all_releases(self) -> Sequence[Release]:
        return self._all(Release, "release")

    def save_rollout(
        self, rollout: Rollout, changed: Sequence[Release], records: Sequence[Record], alerts: Sequence[Alert] = ()
    ) -> Rollout:
        saved = replace(rollout, version=rollout.version + 1)
        writes = [self._next("rollout", "service", encode(saved), rollout.version), *self._noted(alerts)]
        writes += [self._put("release", f"{release.number:08d}", encode(release)) for release in changed]
        self._write(writes, records)
        return saved

    # -- incidents and alerts -----------------------------------------------------------------------------------------
    def decided(self, incident: str, answer: Answer) -> Answer:
        try:
            self._write([self._new("answer", incident, encode(answer))], [])
        except Conflict:
            return self._get(Answer, "answer", incident) or answer
        return answer

    def note(self, alerts: Sequence[Alert], record: Record) -> None:
        writes = self._noted(alerts)
        if writes:
            self._write(writes, [record])

    def is_noted(self, alert_id: str) -> bool:
        return self._item("alert", alert_id) is not None

    def unsent(self) -> Sequence[Alert]:
        return self._all(Alert, "unsent")

    def claim(self, alert: Alert, now: datetime) -> bool:
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item={
                    **_key("unsent", alert.alert_id),
                    "doc": {"S": encode(alert)},
                    "claimed": {"N": str(int(now.timestamp()))},
                },
                ConditionExpression="attribute_exists(kind) AND (attribute_not_exists(claimed) OR claimed < :long_ago)",
                ExpressionAttributeValues={":long_ago": {"N": str(int((now - SENDING).timestamp()))}},
            )
        except ClientError as fault:
            if fault.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def sent(self, alert: Alert) -> None:
        self._dynamodb.delete_item(TableName=self._table, Key=_key("unsent", alert.alert_id))

    def _noted(self, alerts: Iterable[Alert]) -> list[Item]:
        writes = []
        for alert in alerts:
            if not self.is_noted(alert.alert_id):
                writes += [
                    self._new("alert", alert.alert_id, encode(alert)),
                    self._put("unsent", alert.alert_id, encode(alert)),
                ]
        return writes

    # -- items --------------------------------------------------------------------------------------------------------
    def _item(self, kind: str, name: str) -> Item | None:
        return self._dynamodb.get_item(TableName=self._table, Key=_key(kind, name), ConsistentRead=True).get("Item")

    def _get(self, shape: type[T], kind: str, name: str) -> T | None:
        item = self._item(kind, name)
        return decode(shape, item["doc"]["S"]) if item else None

    def _all(self, shape: type[T], kind: str) -> list[T]:
        return [decode(shape, doc) for _, doc in self._documents(kind)]

    def _documents(self, kind: str) -> list[tuple[str, str]]:
        """Id and document of every item of the kind."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            ConsistentRead=True,
            KeyConditionExpression="kind = :kind",
            ExpressionAttributeValues={":kind": {"S": kind}},
        )
        return [(item["id"]["S"], item["doc"]["S"]) for page in pages for item in page["Items"]]

    def _put(self, kind: str, name: str, doc: str, condition: Item | None = None, **more: Any) -> Item:
        attributes = {key: {"N": str(value)} if isinstance(value, int) else value for key, value in more.items()}
        item = {**_key(kind, name), "doc": {"S": doc}, **attributes}
        return {"Put": {"TableName": self._table, "Item": item, **(condition or {})}}

    def _new(self, kind: str, name: str, doc: str, **more: Any) -> Item:
        return self._put(kind, name, doc, {"ConditionExpression": "attribute_not_exists(kind)"}, **more)

    def _next(self, kind: str, name: str, doc: str, version: int) -> Item:
        """The version after `version`; the first one when that is 0."""
        if version == 0:
            return self._new(kind, name, doc, version=1)
        condition = {
            "ConditionExpression": "version = :before",
            "ExpressionAttributeValues": {":before": {"N": str(version)}},
        }
        return self._put(kind, name, doc, condition, version=version + 1)

    def _instead(self, kind: str, name: str, doc: str, before: str | None) -> Item:
        if before is None:
            return self._new(kind, name, doc)
        return self._put(kind, name, doc, _same(before))

    def _gone(self, kind: str, name: str, before: str) -> Item:
        return {"Delete": {"TableName": self._table, "Key": _key(kind, name), **_same(before)}}

    def _queue(self, queue: Queue) -> Item:
        return self._next("queue", "runs", encode(replace(queue, version=queue.version + 1)), queue.version)

    def _write(self, writes: Sequence[Item], records: Sequence[Record]) -> None:
        """All or nothing, with the history. Raises Conflict."""
        history = [
            self._put(
                f"history {record.at:%Y-%m}", f"{record.at.isoformat()} {record.subject} {record.now}", encode(record)
            )
            for record in records
        ]
        for number in range(1, TRIES + 1):
            try:
                self._dynamodb.transact_write_items(TransactItems=[*writes, *history])  # type: ignore[list-item]
                break
            except ClientError as fault:
                reasons = _why_cancelled(fault)
                if "ConditionalCheckFailed" in reasons:
                    raise Conflict(str(fault)) from fault
                if not reasons or not reasons <= BUSY:
                    raise
                if number == TRIES:
                    raise TryAgain(f"DynamoDB is busy: {fault}") from fault
            self._pause(number)
        for record in records:
            log_line(subject=record.subject, was=record.was, now=record.now, why=record.why)


def _why_cancelled(fault: ClientError) -> set[str]:
    """Codes of a transaction that was cancelled as a whole; none for any other fault."""
    if fault.response["Error"]["Code"] != "TransactionCanceledException":
        return set()
    told = fault.response.get("CancellationReasons", [])
    return {reason.get("Code", "None") for reason in told} - {"None"}


def log_line(**told: object) -> None:
    """The ledger's history is the log's spine too: one JSON line a change; metric filters count them."""
    print(json.dumps(told, ensure_ascii=False), file=sys.stdout, flush=True)


def _key(kind: str, name: str) -> Item:
    return {"kind": {"S": kind}, "id": {"S": name}}


def _same(before: str) -> Item:
    return {"ConditionExpression": "doc = :before", "ExpressionAttributeValues": {":before": {"S": before}}}
