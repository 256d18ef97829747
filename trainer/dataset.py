"""The snapshot's files -> the rows to train on, on the local disk: checked, without duplicates, split.

Three passes, each with its own figures in the log: read and check every row; find the duplicates by fingerprint; write
each part to its own file. Texts are never all in memory, and neither are fingerprints: what is kept of a row is five
bytes, its label's number and its part.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainer import duplicates, report, split
from trainer.duplicates import Fingerprints
from trainer.errors import Failed
from trainer.journal import Journal
from trainer.machine import Watch
from trainer.report import Refusals
from trainer.rows import NO_TEXT, SAMPLE, Rejected, read_rows
from trainer.spec import Spec
from trainer.store import Store

OTHER_LABEL = "same text, other label"
RARE_CLASS = "only row of its class"
MAX_CLASSES = 1_000
MAX_LABELS_SEEN = 20_000
MIN_ROWS = 20
GROUP_ROWS, GROUP_CHARACTERS = 16_384, 8 * 1024 * 1024  # what is held of the texts at a time
_RARE = -3
NOTHING_TO_SAVE = "nothing to save yet, the rows are read again"
_SCHEMA = pa.schema([("text", pa.string()), ("label", pa.string()), ("object", pa.string()), ("row", pa.int64())])


class Dataset:
    """The rows of one snapshot, split. `labels` are the classes in the order of every score."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.labels: list[str] = []
        self.duplicates = 0
        self.accepted_of: dict[str, int] = {}  # rows of each object
        self.reasons: Counter[str] = Counter()
        self.split_by = "text"
        self.characters: npt.NDArray[np.int32] = np.empty(0, np.int32)  # of each training text
        self._classes: list[npt.NDArray[np.int64]] = []

    @property
    def accepted(self) -> int:
        return sum(self.accepted_of.values())

    @property
    def rejected(self) -> int:
        return self.reasons.total()

    @property
    def rejected_path(self) -> Path:
        return self.folder / "rejected.csv"

    def path(self, part: int) -> Path:
        return self.folder / f"{split.PARTS[part]}.parquet"

    def texts(self, part: int) -> Iterator[str]:
        for _, group in _groups(self.path(part), ["text"]):
            yield from group.column(0).to_pylist()

    def classes(self, part: int) -> npt.NDArray[np.int64]:
        """Each row's class, as its place in `labels`."""
        return self._classes[part]

    def rows_by_part(self) -> dict[str, int]:
        return {name: len(classes) for name, classes in zip(split.PARTS, self._classes, strict=True)}

    def divide(self, side: npt.NDArray[np.int8], label_ids: npt.NDArray[np.int32], staged: _Staged) -> None:
        """The rows that are left (`side` >= 0) are split; `side` has each row's part before and after."""
        kept = side >= 0
        self.labels = sorted(staged.labels[number] for number in np.unique(label_ids[kept]))
        place = {label: number for number, label in enumerate(self.labels)}
        classes = np.array([place.get(label, -1) for label in staged.labels], dtype=np.int32)[label_ids]
        if not split.is_usable(side[kept], classes[kept]):
            free = kept & ~staged.is_test
            side[free] = split.by_class(staged.fingerprints.of_rows(free), classes[free])
            self.split_by = "class"
        if staged.is_test.any():
            side[kept & ~staged.is_test & (side == split.TEST)] = split.TRAIN
            self.split_by = "file"
        self._classes = [classes[side == part].astype(np.int64) for part in range(len(split.PARTS))]


class _Staged:
    """The accepted rows in the order of the files, duplicates and all: on disk, but for their labels' numbers."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "staged.parquet"
        self.fingerprints = Fingerprints(folder)
        self._label_ids: array[int] = array("i")
        self._numbers: dict[str, int] = {}
        self._writer = _writer(self.path)
        self._rows: list[tuple[str, str, str, int]] = []
        self._marks: list[bytes] = []
        self._characters = 0
        self.test_rows = 0  # the first so many are those of files that are the test set

    def __len__(self) -> int:
        return len(self._label_ids)

    @property
    def labels(self) -> list[str]:
        return list(self._numbers)

    @property
    def is_test(self) -> npt.NDArray[np.bool_]:
        return np.arange(len(self)) < self.test_rows

    def label_ids(self) -> npt.NDArray[np.int32]:
        return np.array(self._label_ids, dtype=np.int32)

    def add(self, text: str, label: str, key: str, number: int, mark: bytes) -> None:
        self._label_ids.append(self._numbers.setdefault(label, len(self._numbers)))
        if len(self._numbers) > MAX_LABELS_SEEN:
            raise Failed(
                f"There are more than {MAX_LABELS_SEEN:,} different labels; at most {MAX_CLASSES:,} can be trained. "
                "Is it the right column?"
            )
        self._rows.append((text, label, key, number))
        self._marks.append(mark)
        self._characters += len(text)
        if len(self._rows) == GROUP_ROWS or self._characters >= GROUP_CHARACTERS:
            self._write()

    def _write(self) -> None:
        if self._rows:
            columns = [pa.array(column) for column in zip(*self._rows, strict=True)]
            self._writer.write_table(pa.table(columns, schema=_SCHEMA))
            self.fingerprints.add(self._marks)
        self._rows, self._marks, self._characters = [], [], 0

    def finish(self) -> None:
        """All rows are there: they can be read."""
        self._write()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self.path.unlink(missing_ok=True)
        self.fingerprints.remove()


def gather(
    store: Store, spec: Spec, folder: Path, journal: Journal, watch: Watch, now: Callable[[], datetime]
) -> Dataset:
    """Read, check and split the snapshot. Raises Failed with the reason when it cannot be trained on."""
    dataset = Dataset(folder)
    refusals = Refusals(dataset.rejected_path)
    dataset.reasons = refusals.reasons
    failed: Failed | None = None
    try:
        _gather(store, spec, dataset, refusals, journal, watch)
    except Failed as fault:
        failed = fault
    finally:
        refusals.close()
        journal.accepted, journal.rejected = dataset.accepted, dataset.rejected
    if dataset.accepted + dataset.rejected:
        at = now().strftime("%Y-%m-%dT%H:%M:%SZ")
        publish_refusals(store, dataset, refusals.report(spec.run_id, spec.dataset, dataset.accepted_of, failed, at))
    if failed:
        raise failed
    return dataset


def publish_refusals(store: Store, dataset: Dataset, told: dict[str, Any]) -> None:
    prefix = f"processed/{told['run_id']}/"
    store.upload(prefix + "rejected.csv", dataset.rejected_path)
    store.put_json(prefix + "rejected.json", told)
    store.put(prefix + "rejected.html", report.page(told).encode(), "text/html; charset=utf-8")


def _gather(store: Store, spec: Spec, dataset: Dataset, refusals: Refusals, journal: Journal, watch: Watch) -> None:
    with _Staged(dataset.folder) as staged:
        began = watch.seconds
        _read(store, spec, dataset, staged, refusals, journal, watch)
        staged.finish()
        rows, seconds = dataset.accepted + dataset.rejected, max(watch.seconds - began, 1e-9)
        journal.say(f"read and checked {rows:,} rows in {seconds:.1f} s, {rows / seconds:,.0f}/s")
        began = watch.seconds
        _divide(spec, dataset, staged, refusals, journal, watch)
        journal.say(f"found {dataset.duplicates:,} duplicates and wrote the parts in {watch.seconds - began:.1f} s")


def _read(
    store: Store,
    spec: Spec,
    dataset: Dataset,
    staged: _Staged,
    refusals: Refusals,
    journal: Journal,
    watch: Watch,
) -> None:
    """The first pass: every row of every file, refused or staged."""
    all_bytes = sum(each.bytes for each in spec.objects)
    bytes_before = 0
    # The test set first: of a text that is in both, the row in the test set is the one that stays.
    for each in sorted(spec.objects, key=lambda each: each.key not in spec.test_keys):
        accepted = dataset.accepted_of
        accepted.setdefault(each.key, 0)
        with store.open_exact(each.key, each.version_id, each.etag, each.bytes) as stream:
            for seen, row in enumerate(read_rows(stream, each.key, spec.text_column, spec.label_column)):
                if seen % 500 == 0:
                    journal.accepted, journal.rejected = dataset.accepted, dataset.rejected
                    journal.step(journal.accepted + journal.rejected, (bytes_before + stream.raw.tell()) / all_bytes)
                    stop_if_told(watch, NOTHING_TO_SAVE)
                if isinstance(row, Rejected):
                    refusals.add(each.key, row)
                    continue
                number, text, label = row
                normal = split.normalised(text)
                if not normal:
                    refusals.add(each.key, Rejected(number, NO_TEXT, text[:SAMPLE]))
                    continue
                accepted[each.key] += 1
                staged.add(text, label, each.key, number, split.fingerprint(spec.dataset, normal))
        bytes_before += each.bytes
        if each.key in spec.test_keys:
            staged.test_rows = len(staged)


def _divide(spec: Spec, dataset: Dataset, staged: _Staged, refusals: Refusals, journal: Journal, watch: Watch) -> None:
    """The second pass, over fingerprints, says which rows stay and in which part; the third writes the parts."""
    journal.phase("reading", "rows", len(staged))
    label_ids = staged.label_ids()
    side = np.empty(len(staged), dtype=np.int8)
    for numbers, marks in staged.fingerprints.shelves():
        parts = split.by_text(marks)
        # A given test set stays whole, even where a text stands in it twice; what is also in it is not trained on.
        found = duplicates.sides(numbers, marks, label_ids, parts)
        side[numbers] = np.where(numbers < staged.test_rows, split.TEST, found)
    dataset.duplicates = int((side == duplicates.DUPLICATE).sum())
    _refuse(staged.path, side, duplicates.OTHER_LABEL, OTHER_LABEL, dataset, refusals)
    _check_share(dataset, spec.max_rejected_share)

    counts = np.bincount(label_ids[(side >= 0) & ~staged.is_test], minlength=len(staged.labels))
    kept_labels = [label for label, count in zip(staged.labels, counts, strict=True) if count >= 2]
    _check_trainable(kept_labels, int(counts[counts >= 2].sum()))
    side[(side >= 0) & (counts < 2)[label_ids]] = _RARE
    _refuse(staged.path, side, _RARE, RARE_CLASS, dataset, refusals)
    _check_share(dataset, spec.max_rejected_share)

    dataset.divide(side, label_ids, staged)
    _write_parts(staged.path, side, dataset, journal, watch)


def _refuse(
    staged: Path, side: npt.NDArray[np.int8], which: int, reason: str, dataset: Dataset, refusals: Refusals
) -> None:
    """The staged rows of that side were not to be accepted after all."""
    if not (side == which).any():
        return
    for place, group in _groups(staged):
        for row in group.filter(pa.array(side[place] == which)).to_pylist():
            dataset.accepted_of[row["object"]] -= 1
            refusals.add(row["object"], Rejected(row["row"], reason, row["text"][:SAMPLE]))


def _write_parts(staged: Path, side: npt.NDArray[np.int8], dataset: Dataset, journal: Journal, watch: Watch) -> None:
    characters = []
    with ExitStack() as opened:
        writers = [opened.enter_context(_writer(dataset.path(part))) for part in range(len(split.PARTS))]
        for place, group in _groups(staged):
            for part, writer in enumerate(writers):
                rows = group.filter(pa.array(side[place] == part))
                writer.write_table(rows)
                if part == split.TRAIN:
                    characters.append(pc.utf8_length(rows.column("text")).to_numpy())
            journal.step(place.stop, place.stop / len(side))
            stop_if_told(watch, NOTHING_TO_SAVE)
    dataset.characters = np.concatenate(characters)


def _writer(path: Path) -> pq.ParquetWriter:
    names = ["label", "object", "row"]
    return pq.ParquetWriter(path, _SCHEMA, use_dictionary=names[:2], write_statistics=names)


def _groups(path: Path, columns: list[str] | None = None) -> Iterator[tuple[slice, pa.Table]]:
    """The rows of a file, a bounded number of characters at a time, and their places in the file."""
    at = 0
    with pq.ParquetFile(path) as rows:
        for number in range(rows.num_row_groups):
            group = rows.read_row_group(number, columns=columns, use_threads=False)
            yield slice(at, at + group.num_rows), group
            at += group.num_rows


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


def _check_trainable(labels: list[str], usable: int) -> None:
    if len(labels) > MAX_CLASSES:
        raise Failed(
            f"There are {len(labels):,} different labels; at most {MAX_CLASSES:,} can be trained. "
            "Is it the right column?"
        )
    if usable < MIN_ROWS:
        raise Failed(f"Only {usable} usable rows are left; at least {MIN_ROWS} are needed. Drop more data.")
    if len(labels) == 1:
        raise Failed(f"All rows have the label {labels[0]!r}; a model needs at least 2 classes.")
