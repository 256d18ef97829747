"""From files to parts: what is accepted, what is refused, and that it always adds up."""

from __future__ import annotations

import csv
import io
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.reviews import REFUSED, Order, write
from tests.trainer.bench import as_csv, check, reviews
from tests.trainer.shelf import Shelf, gathered
from trainer.dataset import GROUP_CHARACTERS, GROUP_ROWS, OTHER_LABEL, RARE_CLASS
from trainer.errors import Failed, Interrupted
from trainer.rows import Row, read_rows
from trainer.split import PARTS, TEST, TRAIN, VALIDATION, normalised

BASE = as_csv(reviews(60))
TEXTS = st.sampled_from(["", " ", "a", "A", "a  ", "<b>a</b>", "<br>", "b", "B,", "c\n", "é", "e\u0301", "dull"])
ROWS = st.lists(st.tuples(TEXTS, st.sampled_from(["pos", "neg", "meh", ""])), max_size=40)
NOISE = st.lists(st.sampled_from([b'"', b",", b"\n", b"\xff", b"\xc3\xa9", b"x,pos\n", b'"x,neg\n', b"x"]), max_size=12)


def simply(bodies: list[bytes]) -> tuple[int, Counter[str], dict[str, str]]:
    """The rules in the plainest words: accepted rows, reasons, and the rows to train on (text to label)."""
    first: dict[str, tuple[str, str]] = {}
    accepted = 0
    reasons: Counter[str] = Counter()
    for body in bodies:
        for row in read_rows(io.BytesIO(body), "raw/a.csv", None, None):
            if not isinstance(row, Row):
                reasons[row.reason] += 1
            elif not (normal := normalised(row.text)):
                reasons["no text"] += 1
            elif first.setdefault(normal, (row.text, row.label))[1] != row.label:
                reasons[OTHER_LABEL] += 1
            else:
                accepted += 1
    return accepted, reasons, dict(first.values())


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(ROWS, max_size=2), NOISE)
def test_every_row_is_accepted_or_listed_with_its_reason(
    tables: list[list[tuple[str, str]]], noise: list[bytes]
) -> None:
    files = {f"raw/{n}.csv": as_csv(rows, "review,class") for n, rows in enumerate(tables)}
    files["raw/noise.csv"] = BASE + b"".join(noise)
    shelf = Shelf(files)
    with tempfile.TemporaryDirectory() as folder:
        dataset = gathered(shelf, Path(folder))
        parts = [dict(zip(dataset.texts(part), dataset.classes(part).tolist(), strict=True)) for part in range(3)]
        rows = sum(dataset.rows_by_part().values())
    accepted, reasons, trainable = simply(list(files.values()))
    lonely = [label for label, count in Counter(trainable.values()).items() if count == 1]
    assert dataset.reasons == reasons + Counter({RARE_CLASS: len(lonely)})
    assert dataset.accepted == accepted - len(lonely)
    assert {text: dataset.labels[label] for part in parts for text, label in part.items()} == {
        text: label for text, label in trainable.items() if label not in lonely
    }
    assert rows == sum(map(len, parts)) == dataset.accepted - dataset.duplicates

    listed = list(csv.DictReader(io.StringIO(shelf.kept["processed/run/rejected.csv"].decode(), newline="")))
    assert Counter(each["reason"] for each in listed) == dataset.reasons
    told = shelf.kept["processed/run/rejected.json"]
    check("rejected_report", told)
    in_files = sum(sum(1 for _ in read_rows(io.BytesIO(body), "raw/a.csv", None, None)) for body in files.values())
    assert told["accepted"] + told["rejected"] == told["rows"] == in_files
    assert [sum(each[name] for each in told["files"]) for name in ("accepted", "rejected")] == [
        dataset.accepted,
        dataset.rejected,
    ]


def test_what_was_refused_is_told_when_the_run_fails_of_it(tmp_path: Path) -> None:
    shelf = Shelf({"raw/a.csv": BASE + b"".join(b"film %d,\n" % number for number in range(40))})
    with pytest.raises(Failed, match=r"40 of 100 rows \(40.0%\) were refused"):
        gathered(shelf, tmp_path, max_rejected_share=0.05)
    told = shelf.kept["processed/run/rejected.json"]
    assert (told["accepted"], told["rejected"]) == (60, 40)
    assert told["what_to_do"].startswith("The run failed: 40 of 100 rows")
    assert b"40 of 100 rows were refused" in shelf.kept["processed/run/rejected.html"]


def test_the_first_row_of_a_text_wins_over_all_files_and_groups(tmp_path: Path) -> None:
    sign = ("neg", "pos")
    many = [(f"film number {number}", sign[number % 2]) for number in range(GROUP_ROWS + 900)]
    again = [(text.upper(), label) for text, label in many[::50]]
    other = [(text, sign[label == "neg"]) for text, label in many[::70]]
    dataset = gathered(Shelf({"raw/a.csv": as_csv(many), "raw/b.csv": as_csv([*other, *again])}), tmp_path)
    assert dataset.duplicates == len(again)
    assert dataset.reasons == {OTHER_LABEL: len(other)}
    assert dataset.labels == list(sign)
    found = [row for part in range(3) for row in zip(dataset.texts(part), dataset.classes(part).tolist(), strict=True)]
    assert sorted(found) == sorted((text, sign.index(label)) for text, label in many)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["train.log", "rejected.csv", *(f"{part}.parquet" for part in PARTS)]
    )


def test_long_texts_are_kept_on_disk_a_few_at_a_time(tmp_path: Path) -> None:
    rows = [(f"{number} " + "long " * 19_000, "pos" if number % 2 else "neg") for number in range(200)]
    dataset = gathered(Shelf({"raw/a.csv": as_csv(rows)}), tmp_path)
    with pq.ParquetFile(dataset.path(TRAIN)) as file:
        groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert max(groups) <= GROUP_CHARACTERS / 95_000 + 1
    assert dataset.characters.tolist() == [len(text) for text in dataset.texts(TRAIN)]


def test_the_same_files_give_the_same_parts(tmp_path: Path) -> None:
    parts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        dataset = gathered(Shelf({"raw/a.csv": as_csv(reviews(500))}), tmp_path / name)
        parts.append([dataset.path(part).read_bytes() for part in (TRAIN, VALIDATION, TEST)])
    assert parts[0] == parts[1]


def test_every_class_trains_even_when_the_split_by_text_would_not_have_it(tmp_path: Path) -> None:
    lonely = [(f"a film like no other {number}", f"kind {number // 2}") for number in range(200)]
    dataset = gathered(Shelf({"raw/a.csv": as_csv([*reviews(30), *lonely])}), tmp_path)
    assert dataset.split_by == "class"
    assert len(np.unique(dataset.classes(TRAIN))) == len(dataset.labels) == 102


def test_a_file_that_is_the_test_set_is_all_of_it_and_no_other_row_tests(tmp_path: Path) -> None:
    rows, tests = reviews(300), reviews(80, seed=5)
    files = {"raw/a.csv": as_csv([*rows, *tests[:10]]), "test/b.csv": as_csv([*tests, ("a film apart", "meh")])}
    dataset = gathered(Shelf(files), tmp_path, test_keys=frozenset(["test/b.csv"]))
    assert dataset.split_by == "file"
    assert list(dataset.texts(TEST)) == [text for text, _ in tests]
    assert dataset.duplicates == 10
    learnt = [*dataset.texts(TRAIN), *dataset.texts(VALIDATION)]
    assert sorted(learnt) == sorted(text for text, _ in rows)
    assert dataset.reasons == {RARE_CLASS: 1}


def test_a_reading_that_was_interrupted_tells_nothing_of_rows(tmp_path: Path) -> None:
    shelf = Shelf({"raw/a.csv": BASE + b"a film,\n"})
    with pytest.raises(Interrupted):
        gathered(shelf, tmp_path, told_to_go=True)
    assert not [key for key in shelf.kept if key.startswith("processed/")]


def test_every_kind_of_row_that_is_made_for_the_bench_is_found_and_counted(tmp_path: Path) -> None:
    made = write(Order(rows=4_000, bytes=400_000, bad_share=0.05), tmp_path / "made.csv")
    (tmp_path / "work").mkdir()
    dataset = gathered(Shelf({"raw/a.csv": (tmp_path / "made.csv").read_bytes()}), tmp_path / "work")
    assert set(dataset.reasons) == set(REFUSED)
    assert dataset.reasons == {reason: made[reason] for reason in REFUSED}
    assert dataset.accepted == made["good"] + made["duplicate"]
    assert dataset.duplicates == made["duplicate"] > 0
