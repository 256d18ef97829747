"""What is accepted at the door, what is refused, and the sentence that says why."""

from __future__ import annotations

import gzip

import pytest
from controlplane.domain.drops import HEAD_BYTES, Columns, Drop, Finding, inspect

ANY = Columns()
GOOD = b"text,label\ngood,pos\nbad,neg\n"


def look(content: bytes, key: str = "raw/reviews.csv", columns: Columns = ANY) -> Finding | None:
    """What the Lambda does: at most the first MiB of the object is seen."""
    return inspect(Drop(key, "etag", len(content)), content[:HEAD_BYTES], columns)


def refused_as(content: bytes, key: str = "raw/reviews.csv", columns: Columns = ANY) -> str:
    finding = look(content, key, columns)
    assert finding is not None, "it was accepted"
    assert finding.sentence.endswith("."), "a finding is a sentence"
    assert finding.sample is None or len(finding.sample) <= 200, "the contract allows 200 characters"
    return finding.rule


BAD = {
    "empty": (b"", "empty"),
    "blanks": (b" \r\n\t \n", "empty"),
    "a byte order mark alone": (b"\xef\xbb\xbf", "empty"),
    "header only": (b"text,label\n", "header-only"),
    "header and blank lines": (b"text,label\n\n\n", "header-only"),
    "header and rows without a label": (b"text,label\ngood,\nbad, \n", "header-only"),
    "one column": (b"text\ngood\nbad\n", "one-column"),
    "semicolons": (b"text;label\ngood;pos\n", "one-column"),
    "no header": (b"I loved it,pos\nI hated it,neg\n", "no-text-column"),
    "no label column": (b"text,stars\ngood,5\nbad,1\n", "no-label-column"),
    "one class": (b"text,label\ngood,pos\nfine,pos\n", "one-class"),
    "one class but for blanks": (b"text,label\ngood,pos\nfine, pos \n", "one-class"),
    "binary": (b"text,label\n\x00\x01\x02,pos\n", "binary"),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "binary"),
    "gzip": (gzip.compress(GOOD), "gzip"),
    "UTF-16": ("text,label\ngood,pos\nbad,neg\n".encode("utf-16"), "binary"),
    "Latin-1": ("text,label\ngood,pos\nmédiocre,neg\n".encode("latin-1"), "encoding"),
    "a first line of more than 1 MiB": (b"a" * HEAD_BYTES + b"\n" + GOOD, "long-line"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_by_its_rule(name: str) -> None:
    content, rule = BAD[name]
    assert refused_as(content) == rule


GOOD_FILES = {
    "plain": GOOD,
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "Windows line ends": GOOD.replace(b"\n", b"\r\n"),
    "old Mac line ends": GOOD.replace(b"\n", b"\r"),
    "no newline at the end": GOOD.rstrip(),
    "a newline inside a quoted header": b'"the\ntext",text,label\na,good,pos\nb,bad,neg\n',
    "newlines inside quoted texts": b'text,label\n"good\nand long",pos\n"bad, too",neg\n',
    "other usual names in any case and order": b"id,Sentiment, Review \n1,pos,good\n2,neg,bad\n",
    "labels that are numbers": b"text,label\ngood,1\nbad,0\n",
    "blank lines before the header": b"\n\n" + GOOD,
    "more columns than header": b"text,label\ngood,pos,extra\nbad,neg,extra\n",
}


@pytest.mark.parametrize("name", GOOD_FILES)
def test_a_good_file_is_accepted(name: str) -> None:
    assert look(GOOD_FILES[name]) is None


def test_names_of_columns_may_be_configured() -> None:
    content = b"comment,stars\ngood,5\nbad,1\n"
    assert refused_as(content) == "no-text-column"
    assert look(content, columns=Columns(text="Comment", label="STARS")) is None


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_another_separator_is_named(mark: str, name: str) -> None:
    finding = look(GOOD.replace(b",", mark.encode()))
    assert finding and finding.sentence.endswith(f"It looks separated by {name}: save it with commas.")


def test_a_missing_column_is_told_with_those_that_are_there_and_what_to_do() -> None:
    finding = look(b"comment,stars\ngood,5\nbad,1\n")
    assert finding and ", but comment, stars. Rename it, or name it: text_column in tidegate.yaml" in finding.sentence
    assert finding.sentence.endswith("or parameter TextColumn.")


def test_a_configured_column_that_is_missing_is_named() -> None:
    finding = look(GOOD, columns=Columns(text="comment"))
    assert finding and '"comment"' in finding.sentence


@pytest.mark.parametrize(
    "key",
    [
        "raw/a b.csv",
        "raw/a+b.csv",
        "raw/a%20b.csv",
        "raw/a\"b'c.csv",
        "raw/ñ/日本.csv",
        "raw/a\nb.csv",
        "raw/A.CSV",
        "raw/x/y/z.Csv",
    ],
)
def test_the_letters_of_a_key_do_not_matter(key: str) -> None:
    assert look(GOOD, key) is None


@pytest.mark.parametrize("key", ["raw/a.txt", "raw/a.csv.gz", "raw/csv", "raw/a.csv ", "raw/README"])
def test_a_name_that_does_not_end_in_csv_is_refused(key: str) -> None:
    assert refused_as(GOOD, key) == "not-csv"


def test_a_folder_marker_is_told_from_a_drop() -> None:
    assert Drop("raw/films/", "e", 0).is_folder_marker
    assert not Drop("raw/films.csv", "e", 0).is_folder_marker


@pytest.mark.parametrize(
    ("key", "dataset"),
    [
        ("raw/a.csv", "default"),
        ("raw/films/a.csv", "films"),
        ("raw/films/2026/a.csv", "films"),
        ("raw/a b+%/x.csv", "a b+%"),
        ("raw/ñ/x.csv", "ñ"),
        ("raw/default/x.csv", "default"),
    ],
)
def test_the_dataset_is_the_first_folder_below_raw(key: str, dataset: str) -> None:
    assert Drop(key, "e", 1).dataset == dataset


def test_a_dataset_always_has_a_name() -> None:
    assert Drop("raw//x.csv", "e", 1).dataset != ""


def test_a_drop_id_is_the_object_version() -> None:
    drop = Drop("raw/a.csv", "e", 1, "v1")
    assert drop.drop_id == Drop("raw/a.csv", "e", 1, "v1").drop_id
    others = [
        Drop("raw/b.csv", "e", 1, "v1"),
        Drop("raw/a.csv", "f", 1, "v1"),
        Drop("raw/a.csv", "e", 1, "v2"),
        Drop("raw/a.csv", "e", 2, "v1"),
        Drop("raw/a.csv", "e", 1),
    ]
    assert len({drop.drop_id, *(other.drop_id for other in others)}) == 6


class TestAFileLargerThanTheHead:
    ROW = "größe,pos\n".encode()

    def big(self, shift: int = 0) -> bytes:
        head = b"text,label\n" + b"x" * shift + b",neg\n"
        return head + self.ROW * (HEAD_BYTES // len(self.ROW) + 100)

    def test_is_judged_by_its_first_mib(self) -> None:
        assert look(self.big()) is None

    @pytest.mark.parametrize("shift", range(12))
    def test_may_be_cut_anywhere_even_inside_a_character(self, shift: int) -> None:
        assert look(self.big(shift)) is None

    def test_is_refused_for_bad_bytes_in_the_middle_of_the_head(self) -> None:
        content = self.big()
        finding = look(content[:5000] + b"\xff" + content[5000:])
        assert finding and finding.rule == "encoding"
        assert finding.row == content[:5000].count(b"\n") + 1

    def test_is_not_refused_for_what_the_rest_may_hold(self) -> None:
        one_class_so_far = b"text,label\n" + b"good,pos\n" * (HEAD_BYTES // 9 + 10) + b"bad,neg\n"
        assert look(one_class_so_far) is None

    def test_with_a_cut_inside_a_quoted_text_is_accepted(self) -> None:
        content = b'text,label\nbad,neg\n"' + b"long text\n" * (HEAD_BYTES // 10 + 10) + b'",pos\n'
        assert look(content) is None


def test_a_finding_says_where_and_shows_a_sample() -> None:
    finding = look("text,label\ngood,pos\nmédiocre,neg\n".encode("latin-1"))
    assert finding and finding.row == 3
    assert finding.sample and "diocre" in finding.sample
