"""A drop arrives: it joins its dataset's batch, or it is quarantined with a report and the batch tells of it."""

from __future__ import annotations

from dataclasses import dataclass

from ..domain.batches import Batch, Patience
from ..domain.drops import HEAD_BYTES, Columns, Drop, inspect
from ..ports import Bucket, Ledger, Record, Timer
from .common import Clock, on_conflict_again


@dataclass(frozen=True)
class Ingest:
    ledger: Ledger
    bucket: Bucket
    timer: Timer
    clock: Clock
    columns: Columns
    patience: Patience

    def take(self, drop: Drop) -> str:
        """Return what became of it: "accepted", "refused: …" or "ignored: …". Safe to repeat and to reorder."""
        if drop.is_folder_marker:
            return "ignored: a folder marker"
        if known := self.ledger.batch_of(drop):
            self._wake(drop.dataset, known)
            return "known"
        head = self.bucket.head(drop, HEAD_BYTES)
        if head is None:
            return "ignored: it was deleted or replaced before it could be read"
        now = self.clock()
        finding = inspect(drop, head, self.columns)
        if finding:
            self.bucket.quarantine(drop, finding, now)

        def join() -> Batch:
            before = self.ledger.batch(drop.dataset)
            batch = before or Batch.opened(drop.dataset, now)
            if finding:
                batch = batch.with_refused(drop, finding, now)
                record = Record(now, f"drop {drop.drop_id}", "", "QUARANTINED", finding.sentence)
            else:
                batch = batch.with_accepted(now)
                record = Record(now, f"drop {drop.drop_id}", "", "ACCEPTED", f"joined {batch.batch_id}")
            self.ledger.take_in(drop, batch, before, record)
            return batch

        batch = on_conflict_again(join)
        self.timer.settle(batch, self.patience.quiet)
        return f"refused: {finding.sentence}" if finding else "accepted"

    def _wake(self, dataset: str, batch_id: str) -> None:
        """A repeated event may stand for a first one that was killed before it set the timer."""
        batch = self.ledger.batch(dataset)
        if batch and batch.batch_id == batch_id:
            self.timer.settle(batch, self.patience.quiet)
