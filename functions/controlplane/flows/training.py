"""From a settled batch to a run, and from a published model to its verdict; in between: launching.py, machines.py.

    batch settled -> snapshot -> run QUEUED (an older snapshot that still waits is replaced) -> launching.py
    model published -> gate -> PROMOTED | REJECTED -> a release is proposed by the caller
Whatever step a function dies in, the repeated event or the reconciler goes on from what the ledger says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ..domain import alerts, gate
from ..domain.batches import Batch, Patience
from ..domain.config import SEED, Config
from ..domain.estimates import Pace, pace_of
from ..domain.models import BadManifest, Model
from ..domain.prices import PriceList
from ..domain.runs import Run, RunState
from ..domain.snapshots import Snapshot
from ..ports import Bucket, Fleet, Ledger, Record, Timer, TryAgain
from .common import Clock, on_conflict_again
from .runbook import RunBook
from .spending import Spending


@dataclass(frozen=True)
class Training:
    ledger: Ledger
    bucket: Bucket
    fleet: Fleet
    timer: Timer
    clock: Clock
    book: RunBook
    spending: Spending
    config: Config

    def settle(self, dataset: str, batch_id: str, as_of: datetime, *, patience: Patience) -> str:
        """A timer rang that was set when the batch's last drop was the one of `as_of`. Return what came of it."""
        batch = self.ledger.batch(dataset)
        if batch is None or batch.batch_id != batch_id:
            return "known: this batch is closed already"
        left = batch.settles_in(self.clock(), patience)
        if left > timedelta():
            if batch.last_drop_at <= as_of:
                self.timer.settle(batch, left)
            return "waits: a later drop has a timer of its own"
        return self._close(batch)

    def _close(self, batch: Batch) -> str:
        now = self.clock()
        refused = [alerts.drops_refused(batch, self.book.bucket_name)] if batch.refused_count else []
        snapshot = Snapshot.of(
            batch.dataset, self.ledger.accepted_drops(batch.dataset), self.bucket.present(batch.dataset)
        )
        config = self.config.overridden(snapshot.config)
        run, why = self._new_run(snapshot) if snapshot.drops else (None, "no accepted drop lies in the bucket")
        if run:
            run = replace(run, estimate=self.spending.estimate(snapshot.drops, config.recipe))
            self.bucket.write_spec(run.run_id, self._spec(run, snapshot, config))
            record = Record(now, f"run {run.run_id}", "", "QUEUED", why)
        else:
            record = Record(now, f"batch {batch.batch_id}", "OPEN", "CLOSED", f"no new run: {why}")

        def close() -> None:
            queue, records, older = self.ledger.queue(), [record], None
            if run and (name := queue.replaced_by(run)) and (older := self.ledger.run(name)):
                reason = f"replaced by {run.run_id}, a newer snapshot of dataset {run.dataset}"
                older, was = older.ended(RunState.CANCELLED, reason, now), older.state
                self.book.write_card(older)
                records.append(Record(now, f"run {name}", was, older.state, reason))
            self.ledger.close(
                batch,
                run=run,
                queue=queue.with_waiting(run) if run else queue,
                alerts=refused,
                records=records,
                replaced=older,
            )

        on_conflict_again(close)
        return f"queued {run.run_id}" if run else f"no new run: {why}"

    def _new_run(self, snapshot: Snapshot) -> tuple[Run | None, str]:
        """The run that the snapshot asks for, if it has none yet or only failed and cancelled ones; and why."""
        failed = 0
        while known := self.ledger.run(snapshot.run_id_after(failed)):
            if known.state not in {RunState.FAILED, RunState.CANCELLED}:
                return None, f"run {known.run_id} has these very objects"
            failed += 1
        run = Run(
            run_id=snapshot.run_id_after(failed),
            dataset=snapshot.dataset,
            digest=snapshot.digest,
            created_at=self.clock(),
        )
        return run, f"{failed} runs of this data did not end; dropped again" if failed else "its batch settled"

    def _spec(self, run: Run, snapshot: Snapshot, config: Config) -> dict[str, Any]:
        objects = [{"key": d.key, "version_id": d.version_id, "etag": d.etag, "bytes": d.size} for d in snapshot.drops]
        return {
            "contract": 1,
            "run_id": run.run_id,
            "dataset": run.dataset,
            "snapshot": {"digest": snapshot.digest, "objects": objects},
            "columns": {"text": config.text_column, "label": config.label_column},
            "champion": self.ledger.champion(run.dataset),
            "baseline": self.ledger.baseline(run.dataset),
            "recipe": config.recipe,
            "knobs": config.all_knobs,
            "seed": SEED,
            "limits": {
                "max_rejected_share": config.max_rejected_share,
                "max_data_shift": config.max_data_shift,
                **self.spending.limits(run, PriceList()),  # written anew before each launch
            },
        }

    def model_published(self, run_id: str, *, policy: gate.Policy, served_dataset: str) -> Run | None:
        """Record the verdict. Return the run, or None when there is nothing (more) to decide."""
        run = self.ledger.run(run_id)
        if run is None:
            return None
        if run.state.is_final:
            self._end_others(run)
            return run
        try:
            manifest = self.bucket.manifest(run_id)
            if manifest is None:
                raise TryAgain(f"models/{run_id}/manifest.json cannot be read yet")
            model = self._checked(run, manifest)
        except BadManifest as fault:
            return self.book.end(run, RunState.FAILED, f"The model cannot be used: {fault}.")
        verdict = gate.decide(model, self.ledger.champion(run.dataset), policy)
        ended = self.book.end(
            run.published_by(model.attempt),
            RunState.PROMOTED if verdict.promote else RunState.REJECTED,
            verdict.sentence,
            serves=run.dataset == served_dataset,
            champion=run_id if verdict.promote else None,
            baseline=run_id,
            pace=self._pace(run, model),
        )
        self._end_others(ended)
        return ended

    def _pace(self, run: Run, model: Model) -> Pace | None:
        size = sum(item["bytes"] for item in self.bucket.read_spec(run.run_id)["snapshot"]["objects"])
        return pace_of(model, [stint for stint in run.stints if stint.attempt == model.attempt], size)

    def _end_others(self, run: Run) -> None:
        """An older machine published in its last minutes: the run's others need not go on."""
        if run.state not in {RunState.PROMOTED, RunState.REJECTED}:
            return
        for machine, (run_id, _) in self.fleet.machines().items():
            if run_id == run.run_id and machine != run.machine:
                self.fleet.end(machine)

    def _checked(self, run: Run, manifest: Mapping[str, Any]) -> Model:
        model = Model.from_manifest(manifest)
        if (model.run_id, model.dataset, model.snapshot_digest) != (run.run_id, run.dataset, run.digest):
            raise BadManifest("the manifest speaks of another run, dataset or snapshot")
        if self.bucket.sha256_of(run.run_id, "metrics.json") != model.metrics_sha256:
            raise BadManifest("metrics.json is not the file that the manifest names (sha256)")
        return model
