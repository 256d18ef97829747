"""The ledger in memory: versions conflict, as DynamoDB's conditions would have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from controlplane.domain.alarms import Answer
from controlplane.domain.alerts import Alert
from controlplane.domain.batches import Batch
from controlplane.domain.drops import Drop
from controlplane.domain.estimates import Pace
from controlplane.domain.money import Bill, bills
from controlplane.domain.pools import Pool, Rest
from controlplane.domain.prices import Quote
from controlplane.domain.releases import Release
from controlplane.domain.rollout import Rollout
from controlplane.domain.runs import Queue, Run
from controlplane.ports import Conflict, Record

SENDING = timedelta(minutes=1)


@dataclass
class FakeLedger:
    """Refuses what DynamoDB's conditions refuse: a batch, run, queue or rollout that was changed meanwhile."""

    batches: dict[str, Batch] = field(default_factory=dict)
    drops: dict[str, str] = field(default_factory=dict)
    accepted: dict[str, dict[str, Drop]] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    runs_queue: Queue = field(default_factory=Queue)
    champions: dict[str, str] = field(default_factory=dict)
    baselines: dict[str, str] = field(default_factory=dict)
    pool_rests: dict[tuple[str, Pool], Rest] = field(default_factory=dict)
    suspected: dict[str, datetime] = field(default_factory=dict)
    the_paces: dict[tuple[str, str], Pace] = field(default_factory=dict)
    the_bills: dict[str, Bill] = field(default_factory=dict)
    the_quotes: dict[str, Quote] = field(default_factory=dict)
    the_tags: frozenset[str] | None = None
    the_rollout: Rollout = field(default_factory=Rollout)
    releases: dict[int, Release] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    noted: dict[str, Alert] = field(default_factory=dict)
    to_send: dict[str, tuple[Alert, datetime | None]] = field(default_factory=dict)
    history: list[Record] = field(default_factory=list)

    def batch(self, dataset: str) -> Batch | None:
        return self.batches.get(dataset)

    def open_batches(self) -> Sequence[Batch]:
        return [self.batches[dataset] for dataset in sorted(self.batches)]

    def batch_of(self, drop: Drop) -> str | None:
        return self.drops.get(drop.drop_id)

    def take_in(self, drop: Drop, batch: Batch, before: Batch | None, record: Record) -> None:
        self._must(drop.drop_id not in self.drops and self.batches.get(batch.dataset) == before)
        self.drops[drop.drop_id] = batch.batch_id
        self.batches[batch.dataset] = batch
        if record.now == "ACCEPTED":
            self.accepted.setdefault(drop.dataset, {})[drop.drop_id] = drop
        self.history.append(record)

    def accepted_drops(self, dataset: str) -> Sequence[Drop]:
        return list(self.accepted.get(dataset, {}).values())

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
        self._must(self.batches.get(batch.dataset) == batch)
        changed = [each for each in (run, replaced) if each]
        self._must(all(self._run_version(each) == each.version for each in changed))
        self._must(run is None or self.runs_queue.version == queue.version)
        for each in changed:
            self.runs[each.run_id] = replace(each, version=each.version + 1)
        if run:
            self.runs_queue = replace(queue, version=queue.version + 1)
        del self.batches[batch.dataset]
        self._note(alerts)
        self.history += records

    def run(self, run_id: str) -> Run | None:
        return self.runs.get(run_id)

    def queue(self) -> Queue:
        return self.runs_queue

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
        self._must(self._run_version(run) == run.version)
        self._must(queue is None or self.runs_queue.version == queue.version)
        self.runs[run.run_id] = replace(run, version=run.version + 1)
        if queue is not None:
            self.runs_queue = replace(queue, version=queue.version + 1)
        if champion is not None:
            self.champions[run.dataset] = champion
        if baseline is not None:
            self.baselines[run.dataset] = baseline
        self.pool_rests.update({(rest.lifecycle, rest.pool): rest for rest in rests})
        if pace is not None:
            self.the_paces[pace.recipe, pace.dataset] = pace
        self.the_bills.update({bill.machine: bill for bill in bills(run.run_id, run.stints)})
        self._note(alerts)
        self.history.append(record)
        return self.runs[run.run_id]

    def rests(self) -> Sequence[Rest]:
        return list(self.pool_rests.values())

    def suspects(self) -> Mapping[str, datetime]:
        return dict(self.suspected)

    def suspect(self, machine_id: str, record: Record) -> None:
        if machine_id not in self.suspected:
            self.suspected[machine_id] = record.at
            self.history.append(record)

    def cleared(self, machine_id: str) -> None:
        self.suspected.pop(machine_id, None)

    def champion(self, dataset: str) -> str | None:
        return self.champions.get(dataset)

    def baseline(self, dataset: str) -> str | None:
        return self.baselines.get(dataset)

    def paces(self, recipe: str) -> Sequence[Pace]:
        return [pace for (of, _), pace in sorted(self.the_paces.items()) if of == recipe]

    def bills(self, month: str) -> Sequence[Bill]:
        return [bill for _, bill in sorted(self.the_bills.items()) if bill.month == month]

    def quotes(self) -> Sequence[Quote]:
        return [quote for _, quote in sorted(self.the_quotes.items())]

    def keep_quote(self, quote: Quote) -> None:
        self.the_quotes[quote.machine_type] = quote

    def tags_seen(self) -> frozenset[str] | None:
        return self.the_tags

    def keep_tags_seen(self, tags: frozenset[str]) -> None:
        self.the_tags = tags

    def rollout(self) -> Rollout:
        return self.the_rollout

    def all_releases(self) -> Sequence[Release]:
        return [self.releases[number] for number in sorted(self.releases)]

    def save_rollout(
        self, rollout: Rollout, changed: Sequence[Release], records: Sequence[Record], alerts: Sequence[Alert] = ()
    ) -> Rollout:
        self._must(self.the_rollout.version == rollout.version)
        self.the_rollout = replace(rollout, version=rollout.version + 1)
        self.releases.update({release.number: release for release in changed})
        self._note(alerts)
        self.history += records
        return self.the_rollout

    def note(self, alerts: Sequence[Alert], record: Record) -> None:
        if self._note(alerts):
            self.history.append(record)

    def decided(self, incident: str, answer: Answer) -> Answer:
        return self.answers.setdefault(incident, answer)

    def is_noted(self, alert_id: str) -> bool:
        return alert_id in self.noted

    def unsent(self) -> Sequence[Alert]:
        return [self.to_send[alert_id][0] for alert_id in sorted(self.to_send)]

    def claim(self, alert: Alert, now: datetime) -> bool:
        if alert.alert_id not in self.to_send:
            return False
        claimed = self.to_send[alert.alert_id][1]
        if claimed is not None and claimed >= now - SENDING:
            return False
        self.to_send[alert.alert_id] = (alert, now)
        return True

    def sent(self, alert: Alert) -> None:
        self.to_send.pop(alert.alert_id, None)

    def _note(self, alerts: Sequence[Alert]) -> bool:
        new = [alert for alert in alerts if alert.alert_id not in self.noted]
        for alert in new:
            self.noted[alert.alert_id] = alert
            self.to_send[alert.alert_id] = (alert, None)
        return bool(new)

    def _run_version(self, run: Run) -> int:
        return self.runs[run.run_id].version if run.run_id in self.runs else 0

    @staticmethod
    def _must(unchanged: bool) -> None:
        if not unchanged:
            raise Conflict("somebody else wrote first")
