"""Text -> features."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from trainer.features import STRIP_PATTERN, TOKEN_PATTERN, Encoder, Featurizer, count, padded, vocabulary

RULES = Featurizer(STRIP_PATTERN, True, TOKEN_PATTERN, 4_000, (1, 2))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("It wasn't <br />GOOD!", ["it", "wasn't", "good", "!"]),
        ("'quoted' rock'n'roll don’t", ["'", "quoted", "'", "rock'n'roll", "don’t"]),
        ("cafe\u0301 naïve", ["café", "naïve"]),
        ("हिन्दी फ़िल्म।", ["हिन्दी", "फ़िल्म", "।"]),
        ("iPhone手机5星", ["iphone", "手", "机", "5", "星"]),
        ("หนังดี", ["ห", "น", "ั", "ง", "ด", "ี"]),
        ("영화가 좋다", ["영화가", "좋다"]),
        ("great😀😀", ["great", "😀", "😀"]),
        ("3 < 5 and 7 > 6", ["3", "6"]),
        ("", []),
    ],
)
def test_words_are_found_in_any_script(text: str, tokens: list[str]) -> None:
    assert RULES.tokens(text) == tokens
    assert Featurizer.of_json(RULES.as_json()) == RULES


def test_features_are_the_distinct_words_and_pairs() -> None:
    assert RULES.grams("so so good") == {"so", "good", "so so", "so good"}


def test_only_the_first_tokens_of_a_long_text_count() -> None:
    assert Featurizer(STRIP_PATTERN, True, TOKEN_PATTERN, 2, (1,)).grams("one two three") == {"one", "two"}


def test_a_feature_is_counted_once_a_text() -> None:
    assert count(["so so good", "so bad"], RULES)["so"] == 2


def test_beyond_the_bound_the_rarest_are_forgotten_and_the_commonest_kept() -> None:
    texts = [f"common word{number} other{number}" for number in range(500)]
    counts = count(texts, RULES, at_most=100)
    assert counts["common"] == 500
    assert len(counts) <= 106


def test_the_vocabulary_is_the_commonest_first_whatever_the_order_of_counting() -> None:
    counts = Counter({"a": 3, "b": 5, "c": 1, "d": 1, "e": 1})
    assert vocabulary(counts, 2, 10) == ["b", "a"]
    chosen = vocabulary(counts, 1, 3)
    assert chosen[:2] == ["b", "a"]
    assert vocabulary(Counter(dict(reversed(counts.items()))), 1, 3) == chosen


def test_ids_ascend_and_unknown_words_are_left_out() -> None:
    encoder = Encoder(RULES, ["good", "so", "so good"])
    assert encoder.ids("so GOOD indeed").tolist() == [0, 1, 2]
    assert encoder.ids("nothing").tolist() == []


def test_rows_are_padded_to_the_widest_and_at_least_one_column() -> None:
    rows = [np.array(ids, np.int32) for ids in ([1, 2], [], [0])]
    assert padded(rows, 9).tolist() == [[1, 2], [9, 9], [0, 9]]
    assert padded([rows[1]], 9).tolist() == [[9]]
