"""One CSV, row by row: what is accepted, what is refused and why, and that nothing breaks the rows after it."""

from __future__ import annotations

import io
import random

import pytest

from trainer.errors import Failed
from trainer.rows import MAX_LINE, Rejected, Row, read_rows


def read(body: str | bytes, text: str | None = None, label: str | None = None) -> list[Row | Rejected]:
    stream = io.BytesIO(body.encode() if isinstance(body, str) else body)
    return list(read_rows(stream, "raw/a.csv", text, label))


def texts(body: str | bytes) -> list[str]:
    return [row.text for row in read(body) if isinstance(row, Row)]


def reasons(body: str | bytes) -> list[tuple[int, str]]:
    return [(row.number, row.reason) for row in read(body) if isinstance(row, Rejected)]


@pytest.mark.parametrize(
    "header",
    [
        "text,label",
        "\ufeffText , LABEL",
        "review,sentiment",
        "Sentence,Target",
        "content,class",
        '"text","label"',
        "text,label\r",
    ],
)
def test_columns_are_found_by_their_names_whatever_their_case(header: str) -> None:
    assert read(f"{header}\na film,pos\n") == [Row(2, "a film", "pos")]


def test_columns_are_found_in_any_place_and_others_are_left_alone() -> None:
    assert read("id,label,rating,review\n7,pos,9,a film\n") == [Row(2, "a film", "pos")]


def test_named_columns_come_before_known_ones() -> None:
    assert read("text,label,Body,stars\nx,y,a film,5\n", text="body", label="STARS") == [Row(2, "a film", "5")]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("", "raw/a.csv is empty"),
        ("text\na film\n", "has no label column: looked for label, sentiment, target, class; its columns are 'text'"),
        ("a film,pos\nanother,neg\n", "has no text column"),
        (b"\xff\xfet\x00e\x00x\x00t\x00", "The header of raw/a.csv cannot be read"),
        ('"text,label\na film,pos\n', "The header of raw/a.csv cannot be read"),
    ],
)
def test_a_file_without_a_usable_header_is_refused_as_a_whole(body: str | bytes, sentence: str) -> None:
    with pytest.raises(Failed, match=sentence.replace("(", r"\(")):
        read(body)


def test_one_column_cannot_be_both() -> None:
    with pytest.raises(Failed, match="the same column 'text'"):
        read("text,label\na,b\n", text="text", label="text")


def test_labels_are_kept_as_given_but_for_the_space_around_them() -> None:
    rows = read("text,label\na, Pos \nb,0\nc,007\nd,sehr gut\ne,null\n")
    assert [row.label for row in rows if isinstance(row, Row)] == ["Pos", "0", "007", "sehr gut", "null"]


def test_quoted_commas_quotes_and_line_ends_belong_to_the_text() -> None:
    assert texts('text,label\n"one, ""two""\r\nthree",pos\nfour,neg\n') == ['one, "two"\r\nthree', "four"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_is_taken(end: str) -> None:
    assert texts(end.join(["text,label", "one,pos", "two,neg"])) == ["one", "two"]


def test_each_faulty_row_is_refused_with_its_line_and_its_reason() -> None:
    body = (
        b"text,label\n,pos\na film,\na,b,c\nalone\ncaf\xe9,pos\n \t,pos\n\nfine,pos\n"
        + b"x" * 100_001
        + b",pos\ny,"
        + b"z" * 201
    )
    assert reasons(body) == [
        (2, "no text"),
        (3, "no label"),
        (4, "wrong number of columns"),
        (5, "wrong number of columns"),
        (6, "not UTF-8"),
        (7, "no text"),
        (10, "text longer than 100,000 characters"),
        (11, "label longer than 200 characters"),
    ]
    assert texts(body) == ["fine"]


def test_an_unclosed_quote_costs_its_own_line_and_no_other() -> None:
    many = [f"film {number},pos" for number in range(5_000)]
    for place in (0, 1, 2_500, 4_999):
        lines = [*many[:place], '"never closed,pos', *many[place:]]
        body = "text,label\n" + "\n".join(lines) + "\n"
        assert reasons(body) == [(place + 2, "broken quotes")]
        assert texts(body) == [f"film {number}" for number in range(5_000)]


def test_an_unclosed_quote_before_quoted_rows_costs_its_own_line() -> None:
    body = 'text,label\n"one, two",pos\n"never closed,neg\nplain,pos\n"three, four",neg\n"five",pos\n'
    assert reasons(body) == [(3, "broken quotes")]
    assert texts(body) == ["one, two", "plain", "three, four", "five"]


def test_text_after_a_closing_quote_costs_its_own_line() -> None:
    body = 'text,label\n"one" two,pos\nthree,neg\n'
    assert reasons(body) == [(2, "broken quotes")]
    assert texts(body) == ["three"]


def test_a_line_of_more_than_sixteen_mebibytes_costs_itself_alone() -> None:
    body = b"text,label\none,pos\n" + b"x" * (2 * MAX_LINE + 5) + b",pos\ntwo,neg\n"
    assert reasons(body) == [(3, "line longer than 16 MiB")]
    assert texts(body) == ["one", "two"]


def test_an_open_quote_before_a_too_long_line_costs_both_and_no_other() -> None:
    body = b'text,label\n"open,pos\none,pos\n' + b"x" * (MAX_LINE + 5) + b",pos\ntwo,neg\n"
    assert reasons(body) == [(2, "broken quotes"), (4, "line longer than 16 MiB")]
    assert texts(body) == ["one", "two"]


def test_whatever_bytes_a_row_holds_the_sound_rows_around_it_are_read() -> None:
    pick = random.Random(7)
    for _ in range(300):
        noise = bytes(pick.choice(b'",\n\r\x00\xff\xc3ab ') for _ in range(pick.randint(1, 30)))
        body = b"text,label\nfirst,pos\n" + noise + b"\n" + b"plain,neg\n" * 3 + b'"last, one",pos\n'
        found = texts(body)
        assert found[0] == "first"
        # Noise that ends inside a quote may take the next lines with it, but never the rest of the file.
        assert found[-1].endswith("last, one") or "last, one" in found[-1]
