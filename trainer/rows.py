"""One CSV -> its rows, one by one, in bounded memory. Nothing that a row holds can break the rows after it.

The hard case is a quote that is never closed: a CSV reader would swallow the file to its end. Here only the line with
that quote is refused, and reading goes on with the next line.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from trainer.errors import Failed

TEXT_NAMES = ("text", "review", "sentence", "content")
LABEL_NAMES = ("label", "sentiment", "target", "class")
MAX_FIELD = 16 * 1024 * 1024
MAX_TEXT = 100_000
MAX_LABEL = 200
SAMPLE = 200

NOT_UTF8 = "not UTF-8"
BROKEN = "broken quotes"
COLUMNS = "wrong number of columns"
NO_TEXT = "no text"
NO_LABEL = "no label"
LONG_TEXT = f"text longer than {MAX_TEXT:,} characters"
LONG_LABEL = f"label longer than {MAX_LABEL} characters"
LONG_LINE = "line longer than 16 MiB"

_UNDECODED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class Row:
    number: int  # the line of the file on which the row begins; the header is line 1
    text: str
    label: str


@dataclass(frozen=True)
class Rejected:
    number: int
    reason: str
    sample: str


@dataclass(frozen=True)
class _Record:
    number: int
    fields: list[str] | None
    reason: str
    raw: str


def read_rows(
    stream: BinaryIO, name: str, text_column: str | None, label_column: str | None
) -> Iterator[Row | Rejected]:
    """Every row of one file, accepted or refused. Raises Failed when the file has no usable header."""
    records = _records(stream)
    header = next(records, None)
    if header is None:
        raise Failed(f"{name} is empty: drop a CSV with a header, a text column and a label column.")
    if header.fields is None or _UNDECODED.search("".join(header.fields)):
        raise Failed(f"The header of {name} cannot be read: save the file as CSV in UTF-8.")
    text_at = _column(header.fields, text_column, TEXT_NAMES, "text", name)
    label_at = _column(header.fields, label_column, LABEL_NAMES, "label", name)
    if text_at == label_at:
        raise Failed(f"Text and label of {name} are the same column {header.fields[text_at]!r}: name two columns.")
    for record in records:
        yield _checked(record, len(header.fields), text_at, label_at)


def _column(header: list[str], wanted: str | None, known: tuple[str, ...], role: str, name: str) -> int:
    names = [column.strip().casefold() for column in header]
    for candidate in (wanted.strip().casefold(),) if wanted is not None else known:
        if candidate in names:
            return names.index(candidate)
    looked_for = repr(wanted) if wanted is not None else ", ".join(known)
    shown = ", ".join(repr(column[:40]) for column in header[:10])
    raise Failed(f"{name} has no {role} column: looked for {looked_for}; its columns are {shown}.")


def _checked(record: _Record, width: int, text_at: int, label_at: int) -> Row | Rejected:
    reason = record.reason
    if record.fields is not None:
        if len(record.fields) != width:
            reason = COLUMNS
        else:
            text, label = record.fields[text_at].strip(), record.fields[label_at].strip()
            reason = _fault(text, label)
            if not reason:
                return Row(record.number, text, label)
    sample = record.raw if record.fields is None else ",".join(record.fields)
    return Rejected(record.number, reason, _UNDECODED.sub("\ufffd", sample[:SAMPLE]))


def _fault(text: str, label: str) -> str:
    if not text:
        return NO_TEXT
    if not label:
        return NO_LABEL
    if len(text) > MAX_TEXT:
        return LONG_TEXT
    if len(label) > MAX_LABEL:
        return LONG_LABEL
    if not (text.isascii() and label.isascii()) and (_UNDECODED.search(text) or _UNDECODED.search(label)):
        return NOT_UTF8
    return ""


class _TooLongLine(Exception):
    """Left the iterator through the CSV reader: a line that must not be held in memory."""


class _Lines:
    """The physical lines of a file, which can be put back; remembers those that the record at hand has taken."""

    def __init__(self, stream: BinaryIO) -> None:
        # surrogateescape: bytes that are not UTF-8 stay visible, so that their row alone can be refused.
        self._text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        self._again: deque[tuple[str, bool]] = deque()
        self._taken: list[tuple[str, bool]] = []
        self._next_number = 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line, too_long = self._again.popleft() if self._again else self._read()
        if not line:
            raise StopIteration
        self._taken.append((line, too_long))
        if too_long:
            raise _TooLongLine
        return line

    def _read(self) -> tuple[str, bool]:
        line = self._text.readline(MAX_FIELD)
        if len(line) < MAX_FIELD or line.endswith(("\n", "\r")):
            return line, False
        while rest := self._text.readline(MAX_FIELD):
            if rest.endswith(("\n", "\r")):
                break
        return line[:SAMPLE], True

    def settle(self) -> tuple[int, str, bool]:
        """The record at hand is done: the number of its first line, that line, and whether it was too long."""
        number, (line, too_long) = self._next_number, self._taken[0]
        self._next_number += len(self._taken)
        self._taken.clear()
        return number, line, too_long

    def keep_the_first(self) -> None:
        """Put the other lines of the record at hand back: they are read again, each on its own merits."""
        self._again.extendleft(reversed(self._taken[1:]))
        del self._taken[1:]


def _records(stream: BinaryIO) -> Iterator[_Record]:
    csv.field_size_limit(MAX_FIELD)
    lines = _Lines(stream)
    reader = csv.reader(lines, strict=True)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooLongLine):
            lines.keep_the_first()
            number, line, too_long = lines.settle()
            yield _Record(number, None, LONG_LINE if too_long else BROKEN, line)
            reader = csv.reader(lines, strict=True)
            continue
        number, line, _ = lines.settle()
        if fields and not (len(fields) == 1 and not fields[0].strip()):
            yield _Record(number, fields, "", line)
