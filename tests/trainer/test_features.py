"""Text -> features."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.features import STRIP_PATTERN, TOKEN_PATTERN, Encoder, Featurizer, padded

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


def test_ids_ascend_and_unknown_words_are_left_out() -> None:
    encoder = Encoder(RULES, ["good", "so", "so good"])
    assert [ids.tolist() for ids in encoder.ids(["so GOOD indeed", "", "nothing", "so"])] == [[0, 1, 2], [], [], [1]]


def test_rows_are_padded_to_the_widest_and_at_least_one_column() -> None:
    rows = [np.array(ids, np.int32) for ids in ([1, 2], [], [0])]
    assert padded(rows, 9).tolist() == [[1, 2], [9, 9], [0, 9]]
    assert padded([rows[1]], 9).tolist() == [[9]]
