"""Text to features, step by step as the contract `model_files.json` says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from inference.features import Features, read_features
from inference.problems import ModelFault

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = json.loads((ROOT / "events" / "contracts" / "model_files.json").read_text())
EXAMPLE: dict[str, Any] = CONTRACT["examples"][0]["features"]


def features(*words: str, **changed: Any) -> Features:
    return read_features({**EXAMPLE, **changed}, "".join(f"{word}\n" for word in words).encode())


def test_ids_are_distinct_known_and_ascending() -> None:
    assert features("b", "a", "c").ids("a b a zzz b") == [0, 1]


def test_words_and_pairs_of_words_are_features() -> None:
    assert features("not good", "good", "good not").ids("Not good") == [0, 1]


def test_every_stripped_match_becomes_a_space() -> None:
    assert features("a", "b", "ab").ids("a<br />b") == [0, 1]


def test_a_letter_and_its_accent_are_one_character_before_tokens_are_found() -> None:
    assert features("café").ids("cafe\u0301") == [0]


def test_stripping_comes_before_normalising() -> None:
    # The stripped tag stands between the letter and its accent; joined after that they would be one letter.
    assert features("e", "é").ids("e<i>\u0301") == [0]


def test_lowercase_is_done_only_where_it_is_asked_for() -> None:
    assert features("good").ids("GOOD") == [0]
    assert features("good", lowercase=False).ids("GOOD") == []


def test_only_the_first_tokens_count() -> None:
    assert features("a", "b", "c", max_tokens=2).ids("a b c") == [0, 1]


def test_a_pair_does_not_reach_over_the_last_token_that_counts() -> None:
    assert features("b c", "a b", max_tokens=2).ids("a b c") == [1]


def test_longer_n_grams_need_no_shorter_ones() -> None:
    assert features("a b c", "a", ngrams=[3]).ids("a b c") == [0]


def test_a_pattern_with_one_group_gives_the_group_as_findall_does() -> None:
    only_stems = features("walk", token_pattern=r"(\w+?)(?:ing|ed)\b")
    assert only_stems.ids("walking") == [0]
    shown, tokens = only_stems.tokens("he walked")
    assert [(token.word, shown[token.start : token.end]) for token in tokens] == [("he walk"[3:], "walk")]


def test_a_feature_may_hold_what_other_programs_take_for_a_line_end() -> None:
    assert features("a", "\x85b", "c", token_pattern=r"[a-z\x85]+").ids("c") == [2]


def test_tokens_are_found_where_they_stand_in_the_text_as_typed() -> None:
    shown, tokens = features("good").tokens("So GOOD, isn't<br>it?")
    assert shown == "So GOOD, isn't it?"
    assert [shown[token.start : token.end] for token in tokens] == ["So", "GOOD", ",", "isn't", "it", "?"]
    assert [token.word for token in tokens][1] == "good"


def test_a_text_that_grows_when_lowered_is_shown_lowered() -> None:
    shown, tokens = features("x").tokens("İ x")
    assert shown[tokens[-1].start : tokens[-1].end] == "x"


@pytest.mark.parametrize(
    ("description", "vocabulary", "words"),
    [
        ({**EXAMPLE, "stem": True}, b"a\n", "exactly"),
        ({name: EXAMPLE[name] for name in list(EXAMPLE)[1:]}, b"a\n", "exactly"),
        ([], b"a\n", "exactly"),
        ({**EXAMPLE, "lowercase": "yes"}, b"a\n", "lowercase"),
        ({**EXAMPLE, "max_tokens": True}, b"a\n", "max_tokens"),
        ({**EXAMPLE, "max_tokens": 0}, b"a\n", "from 1"),
        ({**EXAMPLE, "ngrams": []}, b"a\n", "from 1"),
        ({**EXAMPLE, "ngrams": [0]}, b"a\n", "from 1"),
        ({**EXAMPLE, "token_pattern": "("}, b"a\n", "does not compile"),
        ({**EXAMPLE, "token_pattern": "(a)(b)"}, b"a\n", "one group"),
        (EXAMPLE, b"a\nb\na\n", "twice"),
        (EXAMPLE, b"\xff\n", "not UTF-8"),
    ],
)
def test_files_that_break_the_contract_are_refused(description: Any, vocabulary: bytes, words: str) -> None:
    with pytest.raises(ModelFault, match=words):
        read_features(description, vocabulary)
