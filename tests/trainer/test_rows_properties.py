"""Whatever bytes a file holds: read block by block, it gives what reading record by record would give."""

from __future__ import annotations

import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.rows import Rejected, Row, read_rows

PIECES = st.sampled_from(
    [b"a", b"a film", b"pos", b",", b'"', b'""', b'","', b"\n", b"\r", b"\r\n", b" ", b"\xc3\xa9", b"\xff", b"\0"]
)
BODIES = st.lists(PIECES, max_size=60).map(b"".join)


def one_by_one(body: bytes) -> list[tuple[int, list[str] | None]]:
    """The rule itself: parse one record of the lines that are left; if that fails, the first of them is lost."""
    lines = io.StringIO(body.decode(errors="surrogateescape"), newline="").readlines()
    records: list[tuple[int, list[str] | None]] = []
    at = 0
    while at < len(lines):
        reader = csv.reader(lines[at:], strict=True)
        try:
            fields: list[str] | None = next(reader)
            taken = reader.line_num
        except csv.Error:
            fields, taken = None, 1
        if fields is None or len(fields) > 1 or (fields and fields[0].strip()):
            records.append((at + 1, fields))
        at += taken
    return records


@settings(derandomize=True, deadline=None, max_examples=400)
@given(BODIES, st.integers(1, 40))
def test_blocks_do_not_change_what_is_read(body: bytes, block: int) -> None:
    found = list(read_rows(io.BytesIO(b"text,label\n" + body), "raw/a.csv", None, None, block))
    expected = one_by_one(b"text,label\n" + body)[1:]
    assert [row.number for row in found] == [number for number, _ in expected]
    for row, (_, fields) in zip(found, expected, strict=True):
        if isinstance(row, Row):
            assert fields is not None
            assert [row.text, row.label] == [field.strip() for field in fields]
            assert row.text and row.label
            f"{row.text}{row.label}".encode()  # raises where a byte that is not UTF-8 was let in
        else:
            assert row.reason
            assert len(row.sample) <= 200
            row.sample.encode()


@settings(derandomize=True, deadline=None, max_examples=100)
@given(BODIES, st.integers(1, 40))
def test_a_byte_order_mark_and_the_size_of_a_block_make_no_difference(body: bytes, block: int) -> None:
    plain = list(read_rows(io.BytesIO(b"text,label\n" + body), "raw/a.csv", None, None))
    assert list(read_rows(io.BytesIO(b"\xef\xbb\xbftext,label\n" + body), "raw/a.csv", None, None, block)) == plain


def test_a_quote_open_over_many_blocks_is_one_row() -> None:
    text = "\n".join(f"line {number}" for number in range(3_000))
    body = f'text,label\n"{text}",pos\nnext,neg\n'.encode()
    assert list(read_rows(io.BytesIO(body), "raw/a.csv", None, None, 64)) == [
        Row(2, text, "pos"),
        Row(3_002, "next", "neg"),
    ]


def test_a_record_that_never_ends_costs_its_first_line_and_is_not_held() -> None:
    # Each field is closed and the next one opened on the same line: a CSV reader would go on for ever.
    lines = (b'x","' + b"y" * 1_000_000 + b"\n") * 20
    body = b'text,label\n"open' + lines + b"plain,pos\n"
    found = list(read_rows(io.BytesIO(body), "raw/a.csv", None, None))
    assert found[-1] == Row(22, "plain", "pos")
    assert isinstance(found[0], Rejected)
    assert found[0].reason == "broken quotes"
