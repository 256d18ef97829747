"""Which side a row is on, and that it stays there."""

from __future__ import annotations

import numpy as np
import pytest

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
