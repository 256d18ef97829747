"""From a settled batch to a recorded verdict: snapshot, run, machine, model, gate.

    batch settled -> snapshot -> run QUEUED -> (slot free) claimed -> machine asked for -> TRAINING
    machine ended -> INTERRUPTED -> claimed again, or FAILED with the trainer's own reason
    model published -> gate -> PROMOTED | REJECTED -> a release is proposed by the caller
Whatever step a function dies in, the repeated event or the reconciler goes on from what the ledger says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..domain import alerts, gate
from ..domain.alerts import Alert
from ..domain.batches import Batch, Patience
from ..domain.config import SEED, Config
from ..domain.models import BadManifest, Model
from ..domain.money import cost_sentence
from ..domain.runs import Queue, Run, RunState, after_machine_ended
from ..domain.snapshots import Snapshot
from ..ports import BadFleet, Bucket, Conflict, Fleet, Ledger, NoCapacity, Record, Timer, TryAgain
from .common import Clock, on_conflict_again

TIMER_MARGIN = 1 / 6  # hours that the trainer ends before its machine's timer, so that it can say why


@dataclass(frozen=True)
class RunLimits:
    max_concurrent: int
    max_attempts: int
    max_hours: float
    capacity_wait: timedelta


@dataclass(frozen=True)
class Training:
    ledger: Ledger
    bucket: Bucket
    fleet: Fleet
    timer: Timer
    clock: Clock
    limits: RunLimits
    bucket_name: str
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
        refused = [alerts.drops_refused(batch, self.bucket_name)] if batch.refused_count else []
        snapshot = Snapshot.of(
            batch.dataset, self.ledger.accepted_drops(batch.dataset), self.bucket.present(batch.dataset)
        )
        run, why = self._new_run(snapshot) if snapshot.drops else (None, "no accepted drop lies in the bucket")
        if run:
            self.bucket.write_spec(run.run_id, self._spec(run, snapshot))
            record = Record(now, f"run {run.run_id}", "", "QUEUED", why)
        else:
            record = Record(now, f"batch {batch.batch_id}", "OPEN", "CLOSED", f"no new run: {why}")

        def close() -> None:
            queue = self.ledger.queue()
            self.ledger.close(
                batch, run=run, queue=queue.with_waiting(run) if run else queue, alerts=refused, record=record
            )

        on_conflict_again(close)
        return f"queued {run.run_id}" if run else f"no new run: {why}"

    def _new_run(self, snapshot: Snapshot) -> tuple[Run | None, str]:
        """The run that the snapshot asks for, if it has none yet or only failed ones; and why."""
        failed = 0
        while known := self.ledger.run(snapshot.run_id_after(failed)):
            if known.state is not RunState.FAILED:
                return None, f"run {known.run_id} has these very objects"
            failed += 1
        run = Run(
            run_id=snapshot.run_id_after(failed),
            dataset=snapshot.dataset,
            digest=snapshot.digest,
            created_at=self.clock(),
        )
        return run, f"{failed} runs of this data failed; dropped again" if failed else "its batch settled"

    def _spec(self, run: Run, snapshot: Snapshot) -> dict[str, Any]:
        objects = [{"key": d.key, "version_id": d.version_id, "etag": d.etag, "bytes": d.size} for d in snapshot.drops]
        return {
            "contract": 1,
            "run_id": run.run_id,
            "dataset": run.dataset,
            "snapshot": {"digest": snapshot.digest, "objects": objects},
            "columns": {"text": self.config.text_column, "label": self.config.label_column},
            "champion": self.ledger.champion(run.dataset),
            "baseline": self.ledger.baseline(run.dataset),
            "recipe": self.config.recipe,
            "knobs": self.config.all_knobs,
            "seed": SEED,
            "limits": {
                "max_rejected_share": self.config.max_rejected_share,
                "max_data_shift": self.config.max_data_shift,
                "max_hours": self.limits.max_hours - TIMER_MARGIN,
                "max_cost": None,
                "prices": {},
            },
        }

    def work_queue(self) -> list[str]:
        """Launch what may be launched now; return the runs that got a machine."""
        launched = []
        for run_id, _ in self.ledger.queue().active:
            run = self.ledger.run(run_id)
            if run and run.may_be_claimed(self.clock()):
                launched += self._launch(run_id)
        while next_up := self.ledger.queue().next_up(self.limits.max_concurrent):
            started = self._launch(next_up)
            if not started:
                break
            launched += started
        return launched

    def _launch(self, run_id: str) -> list[str]:
        try:
            run = self._claim(run_id)
        except Conflict:
            return []
        if run is None:
            return []
        if run.is_fresh:
            spec = self.bucket.read_spec(run_id)
            compared = {"champion": self.ledger.champion(run.dataset), "baseline": self.ledger.baseline(run.dataset)}
            self.bucket.write_spec(run_id, {**spec, **compared})
        try:
            machine = self.fleet.launch(run)
        except NoCapacity as fault:
            waiting = [alerts.run_waits(run, str(fault), self.limits.capacity_wait)]
            queue = self.ledger.queue().back_to_waiting(run)
            self._save(run.waits_again(str(fault)), "LAUNCHING", str(fault), queue, waiting)
            self.timer.launch(self.limits.capacity_wait)
            return []
        except BadFleet as fault:
            self._end(run, RunState.FAILED, str(fault))
            return []
        self._save(run.on(machine, self.clock()), "LAUNCHING", f"machine {machine.machine_id}, {machine.machine_type}")
        return [run_id]

    def _claim(self, run_id: str) -> Run | None:
        run, queue, now = self.ledger.run(run_id), self.ledger.queue(), self.clock()
        if run is None or not run.may_be_claimed(now):
            return None
        claimed = run.claimed(now)
        record = Record(now, f"run {run_id}", run.state, claimed.state, f"attempt {claimed.attempt}")
        return self.ledger.save_run(claimed, record, queue=queue.with_active(run))

    def machine_changed(self, machine_id: str, *, alive: bool) -> str:
        """EC2 says that a machine is up, or that it is going or gone. Return what came of it."""
        run_id = self.fleet.run_of(machine_id)
        run = self.ledger.run(run_id) if run_id else None
        if run is None:
            return "nothing to do"
        if run.state.is_final:
            return "nothing to do" if alive else self._bill_ended(run, machine_id)
        if run.machine is None and run.state is RunState.LAUNCHING and not run.was_on(machine_id):
            raise TryAgain(f"the launch of {run.run_id} is still being written down")
        if run.machine != machine_id:
            return "nothing to do: the run is on another machine"
        return self.machine_runs(run) if alive else self.machine_ended(run)

    def _bill_ended(self, run: Run, machine_id: str) -> str:
        """A run is over when its model is judged; its machine, and its bill, end a little later."""
        ended = run.without_machine(self.clock())
        if run.machine == machine_id and ended != run:
            self._save(ended, run.state, f"machine {machine_id} ended")
        return f"{run.run_id}: its machine ended"

    def machine_runs(self, run: Run) -> str:
        if run.state is not RunState.LAUNCHING:
            return "nothing to do"
        self._save(run.training(), run.state, f"machine {run.machine} is up")
        return f"{run.run_id} trains"

    def machine_ended(self, run: Run) -> str:
        """The run goes on elsewhere from its checkpoint, or ends with its reason."""
        outcome = self.bucket.outcome(run.run_id, run.attempt)
        published = self.bucket.is_published(run.run_id)
        stopped = run.without_machine(self.clock())
        after = after_machine_ended(stopped, outcome, published=published, max_attempts=self.limits.max_attempts)
        if after.state is RunState.FAILED:
            self._end(stopped, RunState.FAILED, after.reason)
        elif after != run:
            self._save(after, run.state, after.reason or "its machine ended")
        return f"{run.run_id}: {after.state}"

    def model_published(self, run_id: str, *, policy: gate.Policy, served_dataset: str) -> Run | None:
        """Record the verdict. Return the run, or None when there is nothing (more) to decide."""
        run = self.ledger.run(run_id)
        if run is None:
            return None
        if run.state.is_final:
            return run
        try:
            manifest = self.bucket.manifest(run_id)
            if manifest is None:
                raise TryAgain(f"models/{run_id}/manifest.json cannot be read yet")
            model = self._checked(run, manifest)
        except BadManifest as fault:
            return self._end(run, RunState.FAILED, f"The model cannot be used: {fault}.")
        verdict = gate.decide(model, self.ledger.champion(run.dataset), policy)
        state = RunState.PROMOTED if verdict.promote else RunState.REJECTED
        return self._end(
            run,
            state,
            verdict.sentence,
            serves=run.dataset == served_dataset,
            champion=run_id if verdict.promote else None,
            baseline=run_id,
        )

    def _checked(self, run: Run, manifest: Mapping[str, Any]) -> Model:
        model = Model.from_manifest(manifest)
        if (model.run_id, model.dataset, model.snapshot_digest) != (run.run_id, run.dataset, run.digest):
            raise BadManifest("the manifest speaks of another run, dataset or snapshot")
        if self.bucket.sha256_of(run.run_id, "metrics.json") != model.metrics_sha256:
            raise BadManifest("metrics.json is not the file that the manifest names (sha256)")
        return model

    def _end(
        self,
        run: Run,
        state: RunState,
        reason: str,
        *,
        serves: bool = False,
        champion: str | None = None,
        baseline: str | None = None,
    ) -> Run:
        ended = run.ended(state, reason, self.clock())
        cost = cost_sentence(run.stints, self.clock())
        alert = alerts.run_ended(ended, sentence=reason, cost=cost, bucket=self.bucket_name, serves=serves)
        return on_conflict_again(
            lambda: self._save(ended, run.state, reason, self.ledger.queue().without(run), [alert], champion, baseline)
        )

    def _save(
        self,
        run: Run,
        was: str,
        why: str,
        queue: Queue | None = None,
        noted: Sequence[Alert] = (),
        champion: str | None = None,
        baseline: str | None = None,
    ) -> Run:
        record = Record(self.clock(), f"run {run.run_id}", was, run.state, why)
        return self.ledger.save_run(run, record, queue=queue, champion=champion, baseline=baseline, alerts=noted)
