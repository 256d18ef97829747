"""The ledger in one DynamoDB table; how an item is read and written, `dynamo_table.py` says. An item's kind and id:

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

A change and what belongs to it go in one transaction; a version that moved meanwhile is a Conflict.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..domain.alarms import Answer
from ..domain.alerts import Alert
from ..domain.batches import Batch
from ..domain.drops import Drop
from ..domain.estimates import Pace
from ..domain.money import Bill, bills, dollars
from ..domain.pools import Rest
from ..domain.prices import Quote
from ..domain.releases import Release
from ..domain.rollout import Rollout
from ..domain.runs import Queue, Run
from ..ports import Conflict, Record
from .documents import encode
from .dynamo_table import Item, Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SENDING = timedelta(minutes=1)
RESTS_AT_ONCE = 50


class DynamoLedger:
    def __init__(self, dynamodb: DynamoDBClient, table: str, pause: Callable[[int], None]) -> None:
        """`pause` waits before the n-th try again, from 1 on."""
        self._table = Table(dynamodb, table, pause)

    # -- drops and batches --------------------------------------------------------------------------------------------
    def batch(self, dataset: str) -> Batch | None:
        return self._table.get(Batch, "batch", dataset)

    def open_batches(self) -> Sequence[Batch]:
        return self._table.all(Batch, "batch")

    def batch_of(self, drop: Drop) -> str | None:
        item = self._table.item("drop", drop.drop_id)
        return item["batch"]["S"] if item else None

    def take_in(self, drop: Drop, batch: Batch, before: Batch | None, record: Record) -> None:
        writes = [
            self._table.new("drop", drop.drop_id, encode(drop), batch={"S": batch.batch_id}),
            self._table.instead("batch", batch.dataset, encode(batch), encode(before) if before else None),
        ]
        if record.now == "ACCEPTED":
            writes.append(self._table.put(f"drops {drop.dataset}", drop.drop_id, encode(drop)))
        self._write(writes, [record])

    def accepted_drops(self, dataset: str) -> Sequence[Drop]:
        return self._table.all(Drop, f"drops {dataset}")

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
        writes = [self._table.gone("batch", batch.dataset, encode(batch)), *self._noted(alerts)]
        for changed in (run, replaced):
            if changed:
                stored = encode(replace(changed, version=changed.version + 1))
                writes.append(self._table.next("run", changed.run_id, stored, changed.version))
        if run:
            writes.append(self._queue(queue))
        self._write(writes, records)

    # -- runs ---------------------------------------------------------------------------------------------------------
    def run(self, run_id: str) -> Run | None:
        return self._table.get(Run, "run", run_id)

    def queue(self) -> Queue:
        return self._table.get(Queue, "queue", "runs") or Queue()

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
        writes = [self._table.next("run", run.run_id, encode(saved), run.version), *self._noted(alerts)]
        # Each pool once, and no more than fit: a transaction takes 100 items, and no item twice.
        resting = {f"{rest.lifecycle} {rest.pool.machine_type} {rest.pool.subnet}": encode(rest) for rest in rests}
        put = [self._table.put("rest", name, doc) for name, doc in resting.items()]
        writes += put[:RESTS_AT_ONCE]
        if queue is not None:
            writes.append(self._queue(queue))
        if champion is not None:
            writes.append(self._table.put("champion", run.dataset, json.dumps(champion)))
        if baseline is not None:
            writes.append(self._table.put("baseline", run.dataset, json.dumps(baseline)))
        if pace is not None:
            writes.append(self._table.put(f"pace {pace.recipe}", pace.dataset, encode(pace)))
        for bill in bills(run.run_id, run.stints):
            writes.append(self._table.put(f"bill {bill.month}", bill.machine, encode(bill)))
        self._write(writes, [record])
        for rest in put[RESTS_AT_ONCE:]:  # one that is missing is only asked again
            self._table.put_at_once(rest)
        if run.state.is_final and run.is_billed:  # it changes no more, so the sum is counted once
            cost = dollars(run.stints, record.at)
            log_line(subject=f"cost of {run.run_id}", **({} if cost is None else {"dollars": round(cost, 6)}))
        return saved

    def rests(self) -> Sequence[Rest]:
        return self._table.all(Rest, "rest")

    def suspects(self) -> Mapping[str, datetime]:
        return {name: datetime.fromisoformat(json.loads(doc)) for name, doc in self._table.documents("suspect")}

    def suspect(self, machine_id: str, record: Record) -> None:
        with contextlib.suppress(Conflict):  # it is suspected already
            self._write([self._table.new("suspect", machine_id, json.dumps(record.at.isoformat()))], [record])

    def cleared(self, machine_id: str) -> None:
        self._table.delete("suspect", machine_id)

    def champion(self, dataset: str) -> str | None:
        item = self._table.item("champion", dataset)
        return json.loads(item["doc"]["S"]) if item else None

    def baseline(self, dataset: str) -> str | None:
        item = self._table.item("baseline", dataset)
        return json.loads(item["doc"]["S"]) if item else None

    def paces(self, recipe: str) -> Sequence[Pace]:
        return self._table.all(Pace, f"pace {recipe}")

    def bills(self, month: str) -> Sequence[Bill]:
        return self._table.all(Bill, f"bill {month}")

    def quotes(self) -> Sequence[Quote]:
        return self._table.all(Quote, "quote")

    def keep_quote(self, quote: Quote) -> None:
        self._table.put_at_once(self._table.put("quote", quote.machine_type, encode(quote)))

    # -- images -------------------------------------------------------------------------------------------------------
    def tags_seen(self) -> frozenset[str] | None:
        item = self._table.item("tags", "seen")
        return frozenset(json.loads(item["doc"]["S"])) if item else None

    def keep_tags_seen(self, tags: frozenset[str]) -> None:
        self._table.put_at_once(self._table.put("tags", "seen", json.dumps(sorted(tags))))

    # -- the rollout --------------------------------------------------------------------------------------------------
    def rollout(self) -> Rollout:
        return self._table.get(Rollout, "rollout", "service") or Rollout()

    def all_releases(self) -> Sequence[Release]:
        return self._table.all(Release, "release")

    def save_rollout(
        self, rollout: Rollout, changed: Sequence[Release], records: Sequence[Record], alerts: Sequence[Alert] = ()
    ) -> Rollout:
        saved = replace(rollout, version=rollout.version + 1)
        writes = [self._table.next("rollout", "service", encode(saved), rollout.version), *self._noted(alerts)]
        writes += [self._table.put("release", f"{release.number:08d}", encode(release)) for release in changed]
        self._write(writes, records)
        return saved

    # -- incidents and alerts -----------------------------------------------------------------------------------------
    def decided(self, incident: str, answer: Answer) -> Answer:
        try:
            self._write([self._table.new("answer", incident, encode(answer))], [])
        except Conflict:
            return self._table.get(Answer, "answer", incident) or answer
        return answer

    def note(self, alerts: Sequence[Alert], record: Record) -> None:
        writes = self._noted(alerts)
        if writes:
            self._write(writes, [record])

    def is_noted(self, alert_id: str) -> bool:
        return self._table.item("alert", alert_id) is not None

    def unsent(self) -> Sequence[Alert]:
        return self._table.all(Alert, "unsent")

    def claim(self, alert: Alert, now: datetime) -> bool:
        unclaimed = {
            "ConditionExpression": "attribute_exists(kind) AND (attribute_not_exists(claimed) OR claimed < :long_ago)",
            "ExpressionAttributeValues": {":long_ago": {"N": str(int((now - SENDING).timestamp()))}},
        }
        claimed = int(now.timestamp())
        try:
            self._table.put_at_once(
                self._table.put("unsent", alert.alert_id, encode(alert), unclaimed, claimed=claimed)
            )
        except Conflict:
            return False
        return True

    def sent(self, alert: Alert) -> None:
        self._table.delete("unsent", alert.alert_id)

    def _noted(self, alerts: Iterable[Alert]) -> list[Item]:
        writes = []
        for alert in alerts:
            if not self.is_noted(alert.alert_id):
                writes += [
                    self._table.new("alert", alert.alert_id, encode(alert)),
                    self._table.put("unsent", alert.alert_id, encode(alert)),
                ]
        return writes

    # -- what every change has ----------------------------------------------------------------------------------------
    def _queue(self, queue: Queue) -> Item:
        return self._table.next("queue", "runs", encode(replace(queue, version=queue.version + 1)), queue.version)

    def _write(self, writes: Sequence[Item], records: Sequence[Record]) -> None:
        """All or nothing, with the history. Raises Conflict."""
        history = [
            self._table.put(
                f"history {record.at:%Y-%m}", f"{record.at.isoformat()} {record.subject} {record.now}", encode(record)
            )
            for record in records
        ]
        self._table.write([*writes, *history])
        for record in records:
            log_line(subject=record.subject, was=record.was, now=record.now, why=record.why)


def log_line(**told: object) -> None:
    """The ledger's history is the log's spine too: one JSON line a change; metric filters count them."""
    print(json.dumps(told, ensure_ascii=False), file=sys.stdout, flush=True)
