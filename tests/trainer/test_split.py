"""Which side a row is on, and that it stays there."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.duplicates import DUPLICATE, OTHER_LABEL, sides
from trainer.split import (
    TEST,
    TRAIN,
    VALIDATION,
    Marks,
    by_class,
    by_text,
    fingerprint,
    is_usable,
    marks_of,
    normalised,
)


def films(count: int, dataset: str = "default") -> Marks:
    return marks_of(fingerprint(dataset, f"film {number}") for number in range(count))


@pytest.mark.parametrize(
    "same",
    ["A good   film!", "a GOOD film!", " a good\nfilm! ", "<b>a</b> good<br />film!", "a\u00a0good film!"],
)
def test_case_tags_and_white_space_do_not_make_another_text(same: str) -> None:
    assert normalised(same) == "a good film!"


@settings(derandomize=True, deadline=None)
@given(st.text(st.sampled_from("aA éE\u0301ß<>b/ \t\n\x1c\x85\xa0\u2028\u3000İ!")))
def test_the_quick_way_gives_what_the_long_one_gives(text: str) -> None:
    untagged = re.sub(r"<[^>]{0,200}>", " ", text)
    assert normalised(text) == " ".join(unicodedata.normalize("NFC", untagged).casefold().split())


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=30))
def test_the_first_row_of_a_text_stays_and_the_others_are_told_by_their_label(rows: list[tuple[int, int]]) -> None:
    marks = marks_of(bytes(15) + bytes([text]) for text, _ in rows)
    labels = np.zeros(100 + len(rows), dtype=np.int32)
    labels[100:] = [label for _, label in rows]
    found = sides(np.arange(100, 100 + len(rows)), marks, labels, np.full(len(rows), TEST, dtype=np.int8))
    first: dict[int, int] = {}
    expected = []
    for text, label in rows:
        known = text in first
        expected.append((DUPLICATE if first.setdefault(text, label) == label else OTHER_LABEL) if known else TEST)
        first.setdefault(text, label)
    assert found.tolist() == expected


def test_composed_and_decomposed_letters_are_the_same_text() -> None:
    assert normalised("cafe\u0301") == normalised("CAFÉ")


def test_a_text_keeps_its_side_when_the_dataset_grows() -> None:
    few = films(100)
    many = films(1_000)
    assert list(by_text(many)[:100]) == list(by_text(few))


def test_about_a_tenth_each_validates_and_tests() -> None:
    parts = by_text(films(20_000))
    shares = np.bincount(parts) / len(parts)
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.01)


def test_datasets_are_split_independently() -> None:
    ours = by_text(films(1_000))
    theirs = by_text(films(1_000, "other"))
    assert 0.5 < float((ours == theirs).mean()) < 0.8


def test_a_small_dataset_is_divided_class_by_class_and_always_the_same_way() -> None:
    marks = films(20)
    labels = np.array([0] * 17 + [1] * 3, dtype=np.int32)
    parts = by_class(marks, labels)
    assert is_usable(parts, labels)
    assert sorted(parts[17:]) == [TRAIN, VALIDATION, TEST]
    assert list(by_class(marks[::-1], labels[::-1])) == list(parts[::-1])


def test_a_split_without_two_classes_in_test_or_without_a_class_in_train_is_not_usable() -> None:
    labels = np.array([0, 1, 0, 1, 0, 1], dtype=np.int32)
    assert is_usable(np.array([0, 0, 1, 1, 2, 2], dtype=np.int8), labels)
    assert not is_usable(np.array([0, 0, 1, 1, 2, 0], dtype=np.int8), labels)
    assert not is_usable(np.array([0, 1, 1, 1, 2, 2], dtype=np.int8), labels)
