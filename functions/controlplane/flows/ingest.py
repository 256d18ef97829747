"""A drop arrives: it joins its dataset's batch, or it is quarantined with a report and the batch tells of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from ..domain import config
from ..domain.batches import Batch, Patience
from ..domain.config import BadConfig, ReadYaml
from ..domain.drops import HEAD_BYTES, Columns, Drop, Finding, inspect, mean_row
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
    read_yaml: ReadYaml
    recipes: tuple[str, ...] | None = config.RECIPES

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
        drop, finding = self._looked_at(drop, head)
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

    def _looked_at(self, drop: Drop, head: bytes) -> tuple[Drop, Finding | None]:
        """The drop with what its head shows, or why it is refused."""
        if drop.is_config:
            try:
                said = config.accepted(head, self.read_yaml, recipes=self.recipes)
            except BadConfig as fault:
                return drop, Finding("config", str(fault))
            return replace(drop, config=said), None
        finding = inspect(drop, head, self._columns(drop.dataset))
        return (drop, finding) if finding else (replace(drop, row_bytes=mean_row(drop, head)), None)

    def _columns(self, dataset: str) -> Columns:
        """As the dataset's tidegate.yaml names them, if it lies there by now and can be obeyed."""
        content = self.bucket.config(dataset, config.LARGEST + 1)
        if content is None:
            return self.columns
        try:
            said = json.loads(config.accepted(content, self.read_yaml, recipes=self.recipes))
        except BadConfig:
            return self.columns  # its own drop is refused, and told of
        return Columns(said.get("text_column", self.columns.text), said.get("label_column", self.columns.label))

    def _wake(self, dataset: str, batch_id: str) -> None:
        """A repeated event may stand for a first one that was killed before it set the timer."""
        batch = self.ledger.batch(dataset)
        if batch and batch.batch_id == batch_id:
            self.timer.settle(batch, self.patience.quiet)
