"""The n-grams of all texts, against the plain way to count and encode them."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from trainer import ngrams
from trainer.features import STRIP_PATTERN, TOKEN_PATTERN, Encoder, Featurizer

RULES = Featurizer(STRIP_PATTERN, True, TOKEN_PATTERN, 40, (1, 2, 3))
ALL = 1_000_000


def made_up(rows: int, seed: int) -> list[str]:
    """Texts of common and rare words, some of them empty, some longer than what is read."""
    pick = random.Random(seed)
    words = [f"w{number}" for number in range(60)]
    likely = [1 / (number + 1) for number in range(60)]
    return [" ".join(pick.choices(words, likely, k=pick.choice((0, 1, 2, 7, 30, 60)))) for _ in range(rows)]


def learned(
    texts: list[str], folder: Path, min_count: int = 2, at_most: int = ALL, block: int = ngrams.BLOCK
) -> tuple[ngrams.Texts, ngrams.Words, ngrams.Vocabulary]:
    words = ngrams.Words()
    train = ngrams.Reader(RULES, folder, ALL, block=block).training(texts, np.zeros(len(texts)), words)
    return train, words, ngrams.learn(train, words, 3, min_count, at_most)


@pytest.mark.parametrize("block", [ngrams.BLOCK, 100, 40])
def test_counts_and_ids_are_those_of_the_plain_way_in_blocks_of_any_size(tmp_path: Path, block: int) -> None:
    texts, others = made_up(300, 1), [*made_up(50, 2), "w1 unknown w2 w3 w1 w1"]
    train, words, vocabulary = learned(texts, tmp_path, block=block)
    plain = Counter(gram for text in texts for gram in RULES.grams(text))
    assert dict(zip(vocabulary.features, vocabulary.seen.tolist(), strict=True)) == {
        gram: seen for gram, seen in plain.items() if seen >= 2
    }
    assert vocabulary.seen.tolist() == sorted(vocabulary.seen.tolist(), reverse=True)

    reader = ngrams.Reader(RULES, tmp_path, ALL, block=block)
    validation = reader.validation(others, np.zeros(len(others)), words)
    for size in (1, 2, 3):
        ngrams.number(validation, vocabulary.tables, size)
    encoder = Encoder(RULES, vocabulary.features)
    for rows, numbered in ((texts, train), (others, validation)):
        encoded = ngrams.encode(numbered, vocabulary, np.arange(len(rows)))
        assert encoded.classes.tolist() == list(range(len(rows)))
        for number, text in enumerate(rows):
            ids = encoded.ids[encoded.offsets[number] : encoded.offsets[number + 1]]
            assert ids.tolist() == encoder.ids([text])[0].tolist(), text


def test_the_commonest_are_kept_and_ties_do_not_favour_the_first_rows(tmp_path: Path) -> None:
    texts = [f"first{number}" for number in range(400)] + [f"then{number}" for number in range(400)]
    texts = [f"{words}. common" for words in texts for _ in range(2)]
    _, _, vocabulary = learned(texts, tmp_path, at_most=402)
    assert {"common", ".", ". common"} > set(vocabulary.features[:2])
    early = sum("first" in feature for feature in vocabulary.features)
    assert 150 < early < 250


def test_of_those_seen_once_all_are_kept_or_none(tmp_path: Path) -> None:
    texts = ["so good", "so bad"]
    _, _, vocabulary = learned(texts, tmp_path, min_count=1, at_most=5)
    assert set(vocabulary.features) == {"so", "good", "bad", "so good", "so bad"}
    _, _, vocabulary = learned(texts, tmp_path, min_count=1, at_most=4)
    assert vocabulary.features == ["so"]


def test_of_too_many_words_a_fixed_share_of_the_texts_is_read(tmp_path: Path) -> None:
    texts = [f"one two three w{number}" for number in range(1_000)]
    chance = np.random.default_rng(5).permutation(1_000) / 1_000
    train = ngrams.Reader(RULES, tmp_path, at_most=1_000).training(texts, chance, ngrams.Words())
    assert train.rows.tolist() == np.flatnonzero(chance < 0.25).tolist()
    assert len(train.read(0, 0, len(train))) == 4 * len(train) <= 1_000
    classes = np.arange(1_000)
    vocabulary = ngrams.learn(train, ngrams.Words(), 1, 10_000, 10)
    assert vocabulary.features == []
    assert ngrams.encode(train, vocabulary, classes).classes.tolist() == train.rows.tolist()


def test_of_too_many_different_words_the_rarest_are_forgotten(tmp_path: Path) -> None:
    texts = [f"common w{number} other{number % 3}" for number in range(500)]
    words = ngrams.Words()
    train = ngrams.Reader(RULES, tmp_path, ALL, words_at_most=100).training(texts, np.zeros(500), words)
    assert len(words) <= 102
    vocabulary = ngrams.learn(train, words, 3, 2, ALL)
    assert vocabulary.features[0] == "common"
    assert vocabulary.seen[0] == 500
    assert {"other0", "other1", "other2"} < set(vocabulary.features)


def test_of_too_many_n_grams_the_rarest_are_forgotten() -> None:
    counts = ngrams.Counts(at_most=100)
    for start in range(0, 1_000, 10):
        counts.add(np.array([7, *range(start + 10, start + 20)]), np.array([3, *[1] * 10]))
        counts.merge()
    counts.finish(min_count=2, at_most=10)
    assert counts.keys.tolist() == [7]
    assert counts.seen.tolist() == [300]
