"""One CSV -> its rows, one by one, in bounded memory. Nothing that a row holds can break the rows after it.

The hard case is a quote that is never closed: a CSV reader would swallow the file to its end. Here only the line with
that quote is refused, and reading goes on with the next line.

The file is read in blocks of whole lines, and a block is parsed at once: five million rows are read in a minute or two.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from trainer.errors import Failed

TEXT_NAMES = ("text", "review", "sentence", "content")
LABEL_NAMES = ("label", "sentiment", "target", "class")
BLOCK = 256 * 1024
MAX_LINE = 16 * 1024 * 1024  # bytes; a row of several lines that is still open after as many characters is broken
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

_BOM = b"\xef\xbb\xbf"
_UNDECODED = re.compile("[\udc80-\udcff]")
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")  # a CR at the end of what was read may be half of a CRLF


class Row(NamedTuple):
    number: int  # the line of the file on which the row begins; the header is line 1
    text: str
    label: str


class Rejected(NamedTuple):
    number: int
    reason: str
    sample: str


# Its number; its fields, or None with the reason and its first line; whether it certainly is UTF-8.
_Record = tuple[int, list[str] | None, str, str, bool]


def read_rows(
    stream: BinaryIO, name: str, text_column: str | None, label_column: str | None, block: int = BLOCK
) -> Iterator[Row | Rejected]:
    """Every row of one file, accepted or refused. Raises Failed when the file has no usable header."""
    records = _records(stream, block)
    header = next(records, None)
    if header is None:
        raise Failed(f"{name} is empty: drop a CSV with a header, a text column and a label column.")
    names = header[1]
    if names is None or _UNDECODED.search("".join(names)):
        raise Failed(f"The header of {name} cannot be read: save the file as CSV in UTF-8.")
    text_at = _column(names, text_column, TEXT_NAMES, "text", name)
    label_at = _column(names, label_column, LABEL_NAMES, "label", name)
    if text_at == label_at:
        raise Failed(f"Text and label of {name} are the same column {names[text_at]!r}: name two columns.")
    width = len(names)
    for number, fields, reason, raw, utf8 in records:
        if fields is not None:
            if len(fields) != width:
                reason = COLUMNS
            else:
                text, label = fields[text_at].strip(), fields[label_at].strip()
                reason = _fault(text, label, utf8)
                if not reason:
                    yield Row(number, text, label)
                    continue
            raw = ",".join(fields)
        yield Rejected(number, reason, _UNDECODED.sub("\ufffd", raw[:SAMPLE]))


def _column(header: list[str], wanted: str | None, known: tuple[str, ...], role: str, name: str) -> int:
    names = [column.strip().casefold() for column in header]
    for candidate in (wanted.strip().casefold(),) if wanted is not None else known:
        if candidate in names:
            return names.index(candidate)
    looked_for = repr(wanted) if wanted is not None else ", ".join(known)
    shown = ", ".join(repr(column[:40]) for column in header[:10])
    raise Failed(f"{name} has no {role} column: looked for {looked_for}; its columns are {shown}.")


def _fault(text: str, label: str, utf8: bool) -> str:
    if not text:
        return NO_TEXT
    if not label:
        return NO_LABEL
    if len(text) > MAX_TEXT:
        return LONG_TEXT
    if len(label) > MAX_LABEL:
        return LONG_LABEL
    if not utf8 and (_UNDECODED.search(text) or _UNDECODED.search(label)):
        return NOT_UTF8
    return ""


def _records(stream: BinaryIO, block: int) -> Iterator[_Record]:
    """The records of a file. One that cannot be parsed costs its first line; the next ones are read on their merits."""
    csv.field_size_limit(MAX_LINE)
    number = 1  # of the first of `lines`
    lines: list[str] = []
    utf8 = True
    wait_for = 0  # characters: a record that goes on was seen to be open this far
    for batch in _batches(stream, block):
        lines += batch.lines
        utf8 = utf8 and batch.utf8
        # Twice as much each time, so that a record of many blocks is not parsed anew with every block.
        if wait_for and not batch.closed and _characters(lines) < wait_for:
            continue
        at = wait_for = 0
        while at < len(lines):
            fields, taken = _record_at(lines, at)
            if fields is None:
                ran_out = taken == len(lines) - at
                if ran_out and not batch.closed and (open_so_far := _characters(lines[at:])) <= MAX_LINE:
                    wait_for = 2 * open_so_far
                    break
                yield number + at, None, BROKEN, lines[at], utf8
                at += 1
                continue
            if len(fields) > 1 or fields[0].strip():
                yield number + at, fields, "", "", utf8
            at += taken
        number += at
        lines = lines[at:]
        utf8 = utf8 or not lines
        if batch.too_long:
            yield number, None, LONG_LINE, batch.too_long, True
            number += 1


def _record_at(lines: list[str], at: int) -> tuple[list[str] | None, int]:
    """The record that begins there and its number of lines; None and how many were looked at when it is broken."""
    line = lines[at]
    if '"' not in line:
        return line.rstrip("\r\n").split(","), 1
    reader = csv.reader((line,), strict=True)
    try:
        return next(reader), 1
    except csv.Error:  # broken, or it goes on in the next lines
        reader = csv.reader(lines[at:], strict=True)
    try:
        return next(reader), reader.line_num
    except csv.Error:
        return None, reader.line_num


def _characters(lines: list[str]) -> int:
    return sum(map(len, lines))


@dataclass(frozen=True)
class _Batch:
    lines: list[str]
    utf8: bool
    closed: bool = False  # no later line belongs to a record of this batch: the file ends, or a line that is too long
    too_long: str = ""  # how the line begins that follows, and that must not be held in memory


def _batches(stream: BinaryIO, block: int) -> Iterator[_Batch]:
    start = stream.read(len(_BOM))
    held = b"" if start == _BOM else start
    while more := stream.read(block):
        held += more
        if len(held) > MAX_LINE:
            first = _LINE_END.search(held)
            if first is None or first.end() > MAX_LINE:
                yield _Batch([], True, closed=True, too_long=held[: 4 * SAMPLE].decode(errors="replace")[:SAMPLE])
                held = _after_line_end(stream, held, block)
        end = held.rfind(b"\n") + 1
        end = max(end, held.rfind(b"\r", end, -1) + 1)
        if end:
            yield _batch(held[:end])
            held = held[end:]
    yield _batch(held, closed=True)


def _batch(body: bytes, closed: bool = False) -> _Batch:
    try:
        text, utf8 = body.decode(), True
    except UnicodeDecodeError:
        # Bytes that are not UTF-8 stay visible, so that their row alone can be refused.
        text, utf8 = body.decode(errors="surrogateescape"), False
    return _Batch(io.StringIO(text, newline="").readlines(), utf8, closed)


def _after_line_end(stream: BinaryIO, held: bytes, block: int) -> bytes:
    """What follows the line that `held` begins with."""
    while (end := _LINE_END.search(held)) is None:
        half = held[-1:] if held.endswith(b"\r") else b""
        more = stream.read(block)
        if not more:
            return b""
        held = half + more
    return held[end.end() :]
