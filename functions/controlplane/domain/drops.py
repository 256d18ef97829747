"""A drop: one object under raw/. What is accepted at the door, what is refused, and the sentence that says why.

Only the first MiB is looked at here; the trainer checks every row.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass

from . import config

HEAD_BYTES = 1024 * 1024
LONGEST_DATASET = 200
TEXT_COLUMNS = ("text", "review", "sentence", "content")
LABEL_COLUMNS = ("label", "sentiment", "target", "class")
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
WHAT_TO_DO = (
    "Upload a UTF-8 CSV with a header line, a text column "
    f"({', '.join(TEXT_COLUMNS)}) and a label column ({', '.join(LABEL_COLUMNS)}) with at least two classes."
)


@dataclass(frozen=True)
class Drop:
    """One object version under raw/; `key` is raw, never URL-encoded.

    `sequencer` tells writes of one key apart where the event names no version. `row_bytes` is the mean length of the
    rows in its head (0 = not looked at), `config` what an accepted tidegate.yaml says: see config.accepted.
    """

    key: str
    etag: str
    size: int
    version_id: str | None = None
    sequencer: str = ""
    row_bytes: float = 0.0
    config: str | None = None

    @property
    def dataset(self) -> str:
        """The first folder under raw/; "default" for a file directly in raw/."""
        folder, slash, _ = self.key.removeprefix("raw/").partition("/")
        return folder if slash and folder else "default"

    @property
    def drop_id(self) -> str:
        """The same write of an object always has the same id."""
        identity = "\n".join((self.key, self.version_id or self.sequencer, self.etag, str(self.size)))
        return hashlib.sha256(identity.encode()).hexdigest()[:16]

    @property
    def is_folder_marker(self) -> bool:
        return self.key.endswith("/")

    @property
    def is_config(self) -> bool:
        return config.is_config(self.key)

    @property
    def what_to_do(self) -> str:
        """When it was refused."""
        return config.WHAT_TO_DO if self.is_config else WHAT_TO_DO


@dataclass(frozen=True)
class Finding:
    """One reason to refuse a drop."""

    rule: str
    sentence: str
    row: int | None = None
    column: str | None = None
    sample: str | None = None


@dataclass(frozen=True)
class Columns:
    """Names of the two columns that count; None = found by themselves."""

    text: str | None = None
    label: str | None = None


def inspect(drop: Drop, head: bytes, columns: Columns) -> Finding | None:
    """What is wrong with a drop whose first bytes are `head`; None when it may be trained on."""
    whole = drop.size <= len(head)
    if not drop.key.lower().endswith(".csv"):
        return Finding("not-csv", "The name does not end in .csv.", sample=_sample(drop.key))
    if len(drop.dataset.encode()) > LONGEST_DATASET:
        return Finding("long-name", "The first folder's name is longer than 200 bytes.", sample=_sample(drop.dataset))
    if drop.size == 0:
        return Finding("empty", "The file is empty.")
    if head.startswith(b"\x1f\x8b"):
        return Finding("gzip", "The file is a gzip archive with the name of a CSV. Unpack it first.")
    if b"\0" in head:
        return Finding("binary", "The file holds binary data, not text.")
    text = _decode(head, whole)
    if isinstance(text, Finding):
        return text
    if not text.strip():
        return Finding("empty", "The file holds nothing but blanks.")
    if not whole:
        first_line, newline, _ = text.partition("\n")
        if not newline:
            return Finding("long-line", "The first line is longer than 1 MiB.", row=1, sample=_sample(first_line))
        text = text[: text.rfind("\n") + 1]
    return _inspect_rows(text, columns, whole)


def mean_row(drop: Drop, head: bytes) -> float:
    """Bytes of a row on average, of the rows in the head of an accepted drop. A text may hold line ends of its own."""
    text = _decode(head, drop.size <= len(head))
    assert isinstance(text, str), "it was accepted"
    if drop.size > len(head):
        text = text[: text.rfind("\n") + 1]
    rows = sum(1 for _ in _rows(text)) - 1
    return round(len(text.encode()) / max(1, rows), 2)


def _decode(head: bytes, whole: bool) -> str | Finding:
    try:
        return head.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        cut_inside_a_character = not whole and fault.start >= len(head) - 3
        if cut_inside_a_character:
            return head[: fault.start].decode("utf-8-sig")
        row = head.count(b"\n", 0, fault.start) + 1
        sample = head[max(0, fault.start - 20) : fault.start + 20].decode("latin-1")
        return Finding("encoding", "The file is not UTF-8. Save it as UTF-8.", row=row, sample=_sample(sample))


def _inspect_rows(text: str, columns: Columns, whole: bool) -> Finding | None:
    rows = _rows(text)
    header = [name.strip() for name in next(rows, [])]
    sample = _sample(",".join(header))
    if len(header) < 2:
        sentence = "The header has one column; a text and a label are needed."
        if other := next((mark for mark in OTHER_SEPARATORS if mark in sample), None):
            sentence += f" It looks separated by {OTHER_SEPARATORS[other]}: save it with commas."
        return Finding("one-column", sentence, row=1, sample=sample)
    at: dict[str, int] = {}
    for role, wanted, usual in (("text", columns.text, TEXT_COLUMNS), ("label", columns.label, LABEL_COLUMNS)):
        found = _find(header, (wanted,) if wanted else usual)
        if found is None:
            names = f'"{wanted}"' if wanted else "any of " + ", ".join(usual)
            sentence = (
                f"No {role} column: the header has none named {names}, but {_sample(', '.join(header))}. "
                f"Rename it, or name it: {role}_column in tidegate.yaml beside the file, "
                f"or parameter {role.title()}Column."
            )
            return Finding(f"no-{role}-column", sentence, row=1, sample=sample)
        at[role] = found
    labels = set()
    complete_rows = 0
    for row in rows:
        if len(row) > max(at.values()) and row[at["label"]].strip():
            complete_rows += 1
            labels.add(row[at["label"]].strip())
    if not complete_rows:
        rule, sentence = ("header-only", "There is a header and no row with a text and a label below it.")
        return Finding(rule, sentence, row=1, sample=sample) if whole else None
    if whole and len(labels) == 1:
        sentence = "All rows have the same label; there is nothing to tell apart."
        return Finding("one-class", sentence, column=header[at["label"]], sample=_sample(labels.pop()))
    return None


def _rows(text: str) -> Iterator[list[str]]:
    csv.field_size_limit(16 * HEAD_BYTES)
    return (row for row in csv.reader(io.StringIO(text, newline="")) if row)


def _find(header: list[str], names: tuple[str, ...]) -> int | None:
    lowered = [name.lower() for name in header]
    return next((lowered.index(name.lower()) for name in names if name.lower() in lowered), None)


def _sample(text: str) -> str:
    return text[:200]
