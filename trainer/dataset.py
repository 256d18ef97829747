"""The snapshot's files -> the rows to train on, on the local disk: checked, without duplicates, split.

Texts are never all in memory: what is kept of a row is its fingerprint, its label's number and its part.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from trainer import split
from trainer.errors import Failed
from trainer.journal import Journal
from trainer.machine import Watch
from trainer.rows import Rejected, read_rows
from trainer.spec import Spec
from trainer.store import Store

OTHER_LABEL = "same text, other label"
RARE_CLASS = "only row of its class"
MAX_CLASSES = 1_000
MAX_LABELS_SEEN = 20_000
MIN_ROWS = 20
_BATCH = 2_000
_SCHEMA = pa.schema([("text", pa.string()), ("label", pa.string()), ("object", pa.string()), ("row", pa.int64())])


class Dataset:
    """The rows of one snapshot, split. `labels` are the classes in the order of every score."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.labels: list[str] = []
        self.accepted = self.duplicates = 0
        self.reasons: Counter[str] = Counter()
        self.split_by = "text"
        self._classes: list[npt.NDArray[np.int64]] = []

    @property
    def rejected(self) -> int:
        return self.reasons.total()

    @property
    def rejected_path(self) -> Path:
        return self.folder / "rejected.csv"

    def path(self, part: int) -> Path:
        return self.folder / f"{split.PARTS[part]}.parquet"

    def texts(self, part: int) -> Iterator[str]:
        with pq.ParquetFile(self.path(part)) as rows:
            for batch in rows.iter_batches(_BATCH, columns=["text"]):
                yield from batch.column(0).to_pylist()

    def classes(self, part: int) -> npt.NDArray[np.int64]:
        """Each row's class, as its place in `labels`."""
        return self._classes[part]

    def rows_by_part(self) -> dict[str, int]:
        return {name: len(classes) for name, classes in zip(split.PARTS, self._classes, strict=True)}

    def divide(
        self, staged: Path, marks: list[bytes], label_ids: list[int], labels: list[str], refuse: _Refusals
    ) -> None:
        """Drop the classes that have a single row, split the rest, and write each part to its own file."""
        ids = np.array(label_ids, dtype=np.int32)
        counts = np.bincount(ids, minlength=len(labels))
        kept = counts[ids] >= 2
        self.labels = sorted(labels[number] for number in np.flatnonzero(counts >= 2))
        place = {label: number for number, label in enumerate(self.labels)}
        classes = np.array([place.get(label, -1) for label in labels], dtype=np.int32)[ids]
        self._check_trainable(int(kept.sum()))
        kept_marks = [mark for mark, keep in zip(marks, kept, strict=True) if keep]
        parts = split.by_text(kept_marks)
        if not split.is_usable(parts, classes[kept]):
            parts = split.by_class(kept_marks, classes[kept])
            self.split_by = "class"
        side = np.full(len(ids), -1, dtype=np.int8)
        side[kept] = parts
        self._classes = [classes[side == part].astype(np.int64) for part in range(len(split.PARTS))]
        self._write(staged, side, refuse)

    def _check_trainable(self, usable: int) -> None:
        if len(self.labels) > MAX_CLASSES:
            raise Failed(
                f"There are {len(self.labels):,} different labels; at most {MAX_CLASSES:,} can be trained. "
                "Is it the right column?"
            )
        if usable < MIN_ROWS:
            raise Failed(f"Only {usable} usable rows are left; at least {MIN_ROWS} are needed. Drop more data.")
        if len(self.labels) == 1:
            raise Failed(f"All rows have the label {self.labels[0]!r}; a model needs at least 2 classes.")

    def _write(self, staged: Path, side: npt.NDArray[np.int8], refuse: _Refusals) -> None:
        writers = [pq.ParquetWriter(self.path(part), _SCHEMA) for part in range(len(split.PARTS))]
        at = 0
        with pq.ParquetFile(staged) as rows:
            for batch in rows.iter_batches(_BATCH):
                here = side[at : at + batch.num_rows]
                at += batch.num_rows
                for part, writer in enumerate(writers):
                    writer.write_batch(batch.filter(pa.array(here == part)))
                for row in batch.filter(pa.array(here < 0)).to_pylist():
                    self.accepted -= 1
                    refuse(row["object"], Rejected(row["row"], RARE_CLASS, row["text"][:200]))
        for writer in writers:
            writer.close()


class _Refusals:
    """Writes rejected.csv and counts the reasons."""

    def __init__(self, path: Path, reasons: Counter[str]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file)
        self._csv.writerow(["object", "row", "reason", "sample"])
        self._reasons = reasons

    def __call__(self, key: str, row: Rejected) -> None:
        self._reasons[row.reason] += 1
        self._csv.writerow([key, row.number, row.reason, row.sample])

    def close(self) -> None:
        self._file.close()


def gather(store: Store, spec: Spec, folder: Path, journal: Journal, watch: Watch) -> Dataset:
    """Read, check and split the snapshot. Raises Failed with the reason when it cannot be trained on."""
    dataset = Dataset(folder)
    refuse = _Refusals(dataset.rejected_path, dataset.reasons)
    try:
        _gather(store, spec, dataset, refuse, journal, watch)
        _check_share(dataset, spec.max_rejected_share)
    finally:
        refuse.close()
        journal.accepted, journal.rejected = dataset.accepted, dataset.rejected
        if dataset.rejected:
            store.upload(f"processed/{spec.run_id}/rejected.csv", dataset.rejected_path)
    return dataset


def _gather(store: Store, spec: Spec, dataset: Dataset, refuse: _Refusals, journal: Journal, watch: Watch) -> None:
    staged = dataset.folder / "staged.parquet"
    known: dict[bytes, int] = {}
    label_ids: dict[str, int] = {}
    all_bytes = sum(each.bytes for each in spec.objects)
    bytes_before = 0
    with pq.ParquetWriter(staged, _SCHEMA) as writer:
        batch: list[tuple[str, str, str, int]] = []
        for each in spec.objects:
            stream = store.open_exact(each.key, each.version_id, each.etag, each.bytes)
            for seen, row in enumerate(read_rows(stream, each.key, spec.text_column, spec.label_column)):
                if seen % 500 == 0:
                    journal.accepted, journal.rejected = dataset.accepted, dataset.rejected
                    journal.step(dataset.accepted + dataset.rejected, (bytes_before + stream.raw.tell()) / all_bytes)
                    stop_if_told(watch, "nothing to save yet, the rows are read again")
                if isinstance(row, Rejected):
                    refuse(each.key, row)
                    continue
                normal = split.normalised(row.text)
                if not normal:
                    refuse(each.key, Rejected(row.number, "no text", row.text[:200]))
                    continue
                mark = split.fingerprint(spec.dataset, normal)
                label_id = label_ids.setdefault(row.label, len(label_ids))
                if len(label_ids) > MAX_LABELS_SEEN:
                    raise Failed(
                        f"There are more than {MAX_LABELS_SEEN:,} different labels; at most {MAX_CLASSES:,} can be "
                        "trained. Is it the right column?"
                    )
                first = known.setdefault(mark, label_id)
                if first != label_id:
                    refuse(each.key, Rejected(row.number, OTHER_LABEL, row.text[:200]))
                    continue
                dataset.accepted += 1
                if len(known) == dataset.accepted - dataset.duplicates:
                    batch.append((row.text, row.label, each.key, row.number))
                else:
                    dataset.duplicates += 1
                if len(batch) == _BATCH:
                    _stage(writer, batch)
            bytes_before += each.bytes
        _stage(writer, batch)
    _check_share(dataset, spec.max_rejected_share)
    dataset.divide(staged, list(known), list(known.values()), list(label_ids), refuse)
    staged.unlink()


def _stage(writer: pq.ParquetWriter, batch: list[tuple[str, str, str, int]]) -> None:
    if batch:
        writer.write_batch(pa.record_batch([pa.array(column) for column in zip(*batch, strict=True)], schema=_SCHEMA))
        batch.clear()


def stop_if_told(watch: Watch, remark: str) -> None:
    """Raises Interrupted when the machine is going away, Stopped when a limit is reached."""
    watch.end_if_told(remark)


def _check_share(dataset: Dataset, limit: float) -> None:
    rows = dataset.accepted + dataset.rejected
    if not rows:
        raise Failed("The snapshot has no rows below its header: drop a CSV with rows.")
    share = dataset.rejected / rows
    if share > limit:
        reason, count = dataset.reasons.most_common(1)[0]
        raise Failed(
            f"{dataset.rejected:,} of {rows:,} rows ({share:.1%}) were refused; the limit is {limit:.0%}. "
            f"The commonest reason: {reason} ({count:,} rows)."
        )
