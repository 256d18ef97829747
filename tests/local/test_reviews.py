"""The demo's data: what becomes of the ratings, and what is said when the file is not the pinned one."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from local import reviews
from local.reviews import NoReviews, Review

RATINGS = (
    "1\t2.26666666667\tThe Rock is destined to be \"new\", and ''Conan''.\r\n"
    "2\t-0.6\tEffective but too tepid biopic\r\n"
    "3\t0\tA film.\r\n"
    "\r\n"
    "4\t-1e-05\tAlmost\tnothing"
)


def test_the_sign_of_the_mean_rating_is_the_label_and_exactly_zero_has_none() -> None:
    assert reviews.reviews_of(RATINGS) == [
        Review("The Rock is destined to be \"new\", and ''Conan''.", "positive"),
        Review("Effective but too tepid biopic", "negative"),
        Review("A film.", ""),
        Review("Almost\tnothing", "negative"),
    ]


@pytest.mark.parametrize("line", ["1\t2.0", "1\tgood\tA film.", "no tabs at all"])
def test_a_line_of_another_shape_is_named_and_not_skipped(line: str) -> None:
    with pytest.raises(NoReviews, match="Line 2 .* is not an id, a rating and a text"):
        reviews.reviews_of(f"1\t1\tA film.\n{line}\n")


def test_the_csv_gives_back_every_text_and_label() -> None:
    given = reviews.reviews_of(RATINGS)
    rows = list(csv.reader(io.StringIO(reviews.as_csv(given).decode(), newline="")))
    assert rows == [["text", "label"], *([review.text, review.label] for review in given)]


def test_half_of_the_labels_are_shuffled_the_same_way_each_time_and_no_text_is_touched() -> None:
    given = [Review(f"text {number}", "positive" if number % 3 else "negative") for number in range(300)]
    worse = reviews.half_shuffled(given, seed=1)
    assert worse == reviews.half_shuffled(given, seed=1)
    assert worse != reviews.half_shuffled(given, seed=2)
    assert [review.text for review in worse] == [review.text for review in given]
    assert worse[::2] == given[::2]
    assert 40 < sum(old != new for old, new in zip(given[1::2], worse[1::2], strict=True)) < 90


def test_a_file_that_is_not_the_pinned_one_is_not_opened(tmp_path: Path) -> None:
    forged = tmp_path / reviews.ARCHIVE
    forged.write_bytes(b"PK forged")
    with pytest.raises(NoReviews, match="not the pinned file"):
        reviews.read(forged)


def test_without_an_index_it_says_where_to_put_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / reviews.ARCHIVE).write_bytes(b"a download that was cut off")
    with pytest.raises(NoReviews, match=f"pip could not fetch .* put the file there by hand: .*{reviews.ARCHIVE}"):
        reviews.fetch(tmp_path)
