"""The n-grams of all texts, counted and encoded exactly, quickly and in bounded memory.

A word becomes a number once. From then on an n-gram is a number too: that of the n-gram of one word less at the same
place, times the count of words, plus its last word; no two share one. Such numbers are sorted with their places glued
on, a block of texts at a time, which yields each n-gram with all its places. Strings are made for the chosen ones only.

The texts lie on the disk as numbers, one file for each length of n-gram: for each place in the text the n-gram that
begins there, or -1. Bounds: of too many texts a fixed share is drawn; of too many words or n-grams the rarest are
forgotten on the way. An n-gram is looked at only where its beginning was kept, which is exact: it cannot be commoner.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.features import Encoded, Featurizer

# An n-gram's number (2^42 at most) and its place in the block (2^20) are sorted as one 64-bit number.
PLACE_BITS = 20
BLOCK = 1 << PLACE_BITS  # word places that are in memory at once
WORDS_AT_MOST = 1 << 20  # about 150 MB
GRAMS_AT_MOST = 1 << 22  # of one length; about 150 MB while they are counted

Numbers = npt.NDArray[np.int32]
Keys = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Shares = npt.NDArray[np.float64]


def _nothing(_: int) -> None: ...


class Words(dict[str, int]):
    """Each word's number, given at first sight and never given twice, though rare words may be forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.given = 0

    def __missing__(self, word: str) -> int:
        number = self[word] = self.given
        self.given += 1
        return number

    def forget_rare(self, seen: Keys, at_most: int) -> None:
        """Keep at most half of `at_most` words, the commonest; `seen` counts them by number."""
        below = 2
        while np.count_nonzero(seen >= below) > at_most // 2:
            below += 1
        rare = [word for word, number in self.items() if seen[number] < below]
        for word in rare:
            del self[word]


@dataclass(frozen=True)
class Texts:
    """Texts as numbers: for each length of n-gram a file with one number a place, and where each text begins."""

    folder: Path
    name: str
    begins: Keys  # of each text, and the end of the last
    rows: Keys  # which of the rows that were read these are
    block: int = BLOCK  # places of a block, at most
    tell: Callable[[int], None] = _nothing  # is told the number of texts before each block is worked on

    def __len__(self) -> int:
        return len(self.rows)

    def path(self, size: int) -> Path:
        return self.folder / f"{self.name}.{size}.numbers"

    def blocks(self) -> Iterator[tuple[int, int]]:
        """First and last text (not included) of each block: as many as fit."""
        first = 0
        while first < len(self):
            end = int(np.searchsorted(self.begins, self.begins[first] + self.block, side="right")) - 1
            self.tell(end - first)
            yield first, end
            first = end

    def read(self, size: int, first: int, end: int) -> Numbers:
        start, stop = int(self.begins[first]), int(self.begins[end])
        return np.fromfile(self.path(size), np.int32, stop - start, offset=4 * start)

    def delete(self) -> None:
        """The files are of no use any more."""
        for path in self.folder.glob(f"{self.name}.*.numbers"):
            path.unlink()

    def text_of(self, first: int, end: int) -> Numbers:
        """For each place of these texts, which of them it is in, from 0."""
        return np.repeat(np.arange(end - first, dtype=np.int32), np.diff(self.begins[first : end + 1]))


@dataclass
class Reader:
    """Writes texts as word numbers. `chance` has a number from 0 to 1 for each row.

    When the texts have more than `at_most` words, only those with the lower chances stay. Each time it becomes too
    much the share is halved, so that few texts are cut into words in vain.
    """

    featurizer: Featurizer
    folder: Path
    at_most: int
    words_at_most: int = WORDS_AT_MOST
    block: int = BLOCK

    def training(self, texts: Iterable[str], chance: Shares, words: Words) -> Texts:
        return self._read("train", texts, chance, words, words.__getitem__)

    def validation(self, texts: Iterable[str], chance: Shares, words: Words) -> Texts:
        """In the numbers of the training words; -1 for an unknown word."""
        return self._read("validation", texts, chance, words, lambda word: words.get(word, -1))

    def _read(
        self, name: str, texts: Iterable[str], chance: Shares, words: Words, number_of: Callable[[str], int]
    ) -> Texts:
        share, places = 1.0, 0
        lengths, rows = array("q"), array("q")
        raw = self.folder / f"{name}.raw.numbers"
        with raw.open("wb") as file:
            for row, text in enumerate(texts):
                if chance[row] >= share:
                    continue
                numbers = array("i", map(number_of, self.featurizer.tokens(text)[:BLOCK]))
                numbers.tofile(file)
                lengths.append(len(numbers))
                rows.append(row)
                places += len(numbers)
                while places > self.at_most and share > 1e-6:
                    share /= 2
                    places = int(np.array(lengths)[chance[np.array(rows)] < share].sum())
                if len(words) > self.words_at_most:
                    file.flush()
                    words.forget_rare(_counted(raw, words.given), self.words_at_most)
        row_lengths, row_numbers = np.array(lengths, np.int64), np.array(rows, np.int64)
        kept = chance[row_numbers] < share
        begins = np.concatenate([[0], np.cumsum(row_lengths[kept])])
        read = Texts(self.folder, name, begins, row_numbers[kept], self.block)
        _move_kept(raw, read.path(0), row_lengths, kept)
        return read


def _counted(path: Path, size: int) -> Keys:
    counts = np.zeros(size, np.int64)
    with path.open("rb") as file:
        while len(numbers := np.fromfile(file, np.int32, BLOCK)):
            counts += np.bincount(numbers, minlength=size)
    return counts


def _move_kept(source: Path, target: Path, lengths: Keys, kept: Mask) -> None:
    if kept.all():
        source.rename(target)
        return
    with source.open("rb") as read, target.open("wb") as write:
        for first in range(0, len(lengths), 4_096):
            here = slice(first, first + 4_096)
            numbers = np.fromfile(read, np.int32, int(lengths[here].sum()))
            numbers[np.repeat(kept[here], lengths[here])].tofile(write)
    source.unlink()


class Counts:
    """In how many texts each n-gram stands. Beyond `at_most` of them the rarest are forgotten on the way."""

    def __init__(self, at_most: int) -> None:
        self.keys, self.seen = np.empty(0, np.int64), np.empty(0, np.int64)
        self._at_most, self._forget_below = at_most, 2
        self._new: list[tuple[Keys, Keys]] = []
        self._size = 0

    def add(self, keys: Keys, seen: Keys) -> None:
        self._new.append((keys, seen))
        self._size += len(keys)
        if self._size > max(len(self.keys), 2 * BLOCK):
            self.merge()

    def merge(self) -> None:
        if not self._new:
            return
        keys = np.concatenate([self.keys, *(keys for keys, _ in self._new)])
        seen = np.concatenate([self.seen, *(seen for _, seen in self._new)])
        self._new, self._size = [], 0
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        firsts = _firsts(keys)
        self.keys, self.seen = keys[firsts], _sums(seen[order], firsts)
        if len(self.keys) > self._at_most:
            self._keep(self.seen >= self._forget_below)
            self._forget_below = self._forget_below + 1 if len(self.keys) > self._at_most // 2 else 2

    def finish(self, min_count: int, at_most: int) -> None:
        """Only the commonest stay, by ascending key."""
        self.merge()
        self._keep(self.seen >= min_count)
        if len(self.keys) > at_most:
            self._keep(commonest(self.seen, self.keys, at_most))

    def _keep(self, kept: Mask) -> None:
        self.keys, self.seen = self.keys[kept], self.seen[kept]


def commonest(seen: Keys, keys: Keys, at_most: int) -> Mask:
    """The `at_most` commonest. Ties: by a scrambled key, else the first rows would win; but of those that were seen
    once, all or none, for a random few of them are noise."""
    cut = int(np.partition(seen, -at_most)[-at_most])
    kept: Mask = seen > cut
    if cut == 1:
        return kept
    tied = np.flatnonzero(seen == cut)
    scrambled = keys[tied].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    kept[tied[np.argsort(scrambled, kind="stable")[: at_most - int(kept.sum())]]] = True
    return kept


def _firsts(values: Keys) -> Keys:
    """Where a run of equal values begins."""
    changes = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return np.flatnonzero(changes)


def _sums(values: npt.NDArray[Any], firsts: Keys) -> Keys:
    return np.add.reduceat(values, firsts, dtype=np.int64) if len(firsts) else np.empty(0, np.int64)


def _grouped(keys: Keys) -> tuple[Keys, Keys, Keys]:
    """Distinct keys of a block in ascending order, where each one's places begin, the places in ascending order."""
    places = np.flatnonzero(keys >= 0)
    glued = (keys[places] << PLACE_BITS) | places
    glued.sort()
    sorted_keys = glued >> PLACE_BITS
    firsts = _firsts(sorted_keys)
    return sorted_keys[firsts], firsts, glued & (BLOCK - 1)


@dataclass(frozen=True)
class Vocabulary:
    """The n-grams to learn from, the commonest first."""

    features: list[str]
    seen: Keys  # in how many training texts each stands
    tables: list[Keys]  # for each length the keys that were kept, ascending
    renamed: list[Numbers]  # for each length and key its feature, or -1


def learn(train: Texts, words: Words, sizes: int, min_count: int, at_most: int) -> Vocabulary:
    """Count the training texts' n-grams of 1 to `sizes` words and choose the commonest `at_most`."""
    tables: list[Keys] = []
    counts: list[Keys] = []
    for size in range(1, sizes + 1):
        table = Counts(GRAMS_AT_MOST)
        for first, end in train.blocks():
            keys, firsts, places = _grouped(_keys(train, tables, size, first, end))
            new = np.ones(len(places), np.int64)  # an n-gram counts once a text
            text_of = train.text_of(first, end)[places]
            new[1:] = text_of[1:] != text_of[:-1]
            new[firsts] = 1
            table.add(keys, _sums(new, firsts))
        table.finish(min_count, min(at_most, WORDS_AT_MOST if size == 1 else GRAMS_AT_MOST))
        tables.append(table.keys)
        counts.append(table.seen)
        number(train, tables, size)
    return _chosen(tables, counts, words, at_most)


def number(texts: Texts, tables: list[Keys], size: int) -> None:
    """Write for each place the number of the n-gram of that size that begins there."""
    table = tables[size - 1]
    with texts.path(size).open("wb") as file:
        for first, end in texts.blocks():
            keys = _keys(texts, tables, size, first, end)
            found = np.full(len(keys), -1, np.int32)
            if len(table):
                distinct, firsts, places = _grouped(keys)
                at = np.minimum(np.searchsorted(table, distinct), len(table) - 1)
                at[table[at] != distinct] = -1
                found[places] = np.repeat(at, np.diff(np.append(firsts, len(places))))
            found.tofile(file)


def _keys(texts: Texts, tables: list[Keys], size: int, first: int, end: int) -> Keys:
    """For each place the key of the n-gram of that size that begins there, or -1."""
    before = texts.read(size - 1, first, end).astype(np.int64)
    if size == 1:
        return before
    words, text_of = texts.read(1, first, end), texts.text_of(first, end)
    keys = np.full(len(before), -1, np.int64)
    more = size - 1
    last = words[more:]
    whole = (before[:-more] >= 0) & (last >= 0) & (text_of[:-more] == text_of[more:])
    keys[:-more][whole] = before[:-more][whole] * len(tables[0]) + last[whole]
    return keys


def _chosen(tables: list[Keys], counts: list[Keys], words: Words, at_most: int) -> Vocabulary:
    seen, keys = np.concatenate(counts), np.concatenate(tables)
    size_of = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    kept = np.flatnonzero(commonest(seen, keys, at_most) if len(seen) > at_most else np.ones(len(seen), np.bool_))
    order = kept[np.lexsort((keys[kept], size_of[kept], -seen[kept]))]
    feature_of = np.full(len(seen), -1, np.int32)
    feature_of[order] = np.arange(len(order), dtype=np.int32)
    renamed = np.split(feature_of, np.cumsum([len(table) for table in tables])[:-1])
    features = np.empty(len(order), object)
    spelt = {word_number: word for word, word_number in words.items()}
    word_of = [spelt[each] for each in tables[0].tolist()]
    for size, names in enumerate(renamed, start=1):
        numbers = np.flatnonzero(names >= 0)
        spelling = []
        rest = numbers
        for longer in range(size, 1, -1):
            rest, last = np.divmod(tables[longer - 1][rest], len(tables[0]))
            spelling.append([word_of[each] for each in last.tolist()])
        spelling.append([word_of[each] for each in rest.tolist()])
        features[names[numbers]] = [" ".join(parts) for parts in zip(*reversed(spelling), strict=True)]
    return Vocabulary(features.tolist(), seen[order], tables, renamed)


def encode(texts: Texts, vocabulary: Vocabulary, classes: npt.NDArray[np.int64]) -> Encoded:
    """The texts as the ascending ids of their features. `classes` are those of all rows that were read."""
    lengths = [np.zeros(1, np.int64)]
    path = texts.folder / f"{texts.name}.features"
    with path.open("wb") as file:
        for first, end in texts.blocks():
            text_of = texts.text_of(first, end).astype(np.int64) << 32
            glued = []
            for size, names in enumerate(vocabulary.renamed, start=1):
                numbers = texts.read(size, first, end)
                features = np.append(names, np.int32(-1))[numbers]  # -1 stays -1
                glued.append((text_of | features)[features >= 0])
            cells = np.concatenate(glued)
            cells.sort()
            cells = cells[_firsts(cells)]
            (cells & 0xFFFFFFFF).astype(np.int32).tofile(file)
            lengths.append(np.bincount(cells >> 32, minlength=end - first))
    ids = np.fromfile(path, np.int32)
    path.unlink()
    return Encoded(ids, np.cumsum(np.concatenate(lengths)), classes[texts.rows])
