"""Made-up reviews in any number, the same ones for the same order.

Words by Zipf's law, a signal for each class, duplicates, and every kind of row that a trainer must refuse, counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

LABELS = ("anger", "calm", "delight", "regret")
WORDS = 60_000
SIGNAL = 0.04  # of a text's words belong to its class
NOISE = 0.06  # of the rows speak of another class than their label
DUPLICATES = 0.01
CHUNK = 20_000
REFUSED = (
    "no text",
    "no label",
    "wrong number of columns",
    "not UTF-8",
    "broken quotes",
    "text longer than 100,000 characters",
    "same text, other label",
)
_TABLE = 1 << 20
_SYLLABLES = ("ka", "lo", "mi", "ra", "te", "so", "nu", "be", "dan", "fel", "gor", "his", "jun", "pel", "qui", "vash")


@dataclass(frozen=True)
class Order:
    """What is asked for; `bad_share` of the rows are to be refused, each kind as often as the others."""

    rows: int
    bytes: int
    bad_share: float
    seed: int = 7


def write(order: Order, path: Path) -> dict[str, int]:
    """Write the CSV, unless it is there; give how many rows of each kind it has: "good", "duplicate", or a reason."""
    beside = path.with_suffix(".json")
    if beside.exists() and (told := json.loads(beside.read_text()))["order"] == asdict(order):
        return dict(told["kinds"])
    kinds: Counter[str] = Counter()
    with path.open("wb") as file:
        file.write(b"text,label\n")
        for lines in _chunks(order, kinds):
            file.write("".join(lines).encode(errors="surrogateescape"))
    beside.write_text(json.dumps({"order": asdict(order), "kinds": kinds}, indent=1))
    return dict(kinds)


def _chunks(order: Order, kinds: Counter[str]) -> Iterator[list[str]]:
    pick = np.random.default_rng(order.seed)
    words = np.array([_word(rank) for rank in range(WORDS)], dtype=object)
    table = _zipf()
    letters = sum(len(words[each]) + 1 for each in table[::97]) / len(table[::97])
    words_a_row = max(6.0, (order.bytes / order.rows - 8) / letters)
    for begin in range(0, order.rows, CHUNK):
        count = min(CHUNK, order.rows - begin)
        lengths = np.maximum(5, pick.gamma(2.0, words_a_row / 2, count)).astype(np.int64)
        ends = np.cumsum(lengths)
        labels = pick.integers(0, len(LABELS), count)
        speaks = np.where(pick.random(count) < NOISE, pick.integers(0, len(LABELS), count), labels)
        ids = table[pick.integers(0, len(table), int(ends[-1]))]
        signal = pick.random(len(ids)) < SIGNAL
        told = np.repeat(speaks, lengths)[signal]
        ids[signal] = 500 + len(LABELS) * pick.integers(0, 400, len(told)) + told
        kind = _kinds(pick, count, order.bad_share)
        kinds.update(kind)
        yield _lines(words[ids].tolist(), ends.tolist(), labels.tolist(), kind)


def _zipf() -> npt.NDArray[np.int64]:
    """Ranks of words, each as often as Zipf's law has it."""
    weight = 1 / (np.arange(WORDS) + 2.7)
    return np.repeat(np.arange(WORDS), np.maximum(1, np.round(weight / weight.sum() * _TABLE)).astype(np.int64))


def _word(rank: int) -> str:
    made = "né" if rank % 997 == 996 else ""
    while rank or not made:
        made += _SYLLABLES[rank % 16]
        rank //= 16
    return made


def _kinds(pick: np.random.Generator, count: int, bad_share: float) -> list[str]:
    names = np.array(["good", "duplicate", *REFUSED], dtype=object)
    shares = [1 - DUPLICATES - bad_share, DUPLICATES, *[bad_share / len(REFUSED)] * len(REFUSED)]
    kind: list[str] = names[pick.choice(len(names), count, p=shares)].tolist()
    for row in range(count):
        # These repeat the row before, which must be a sound one.
        if kind[row] in ("duplicate", "same text, other label") and (row == 0 or kind[row - 1] != "good"):
            kind[row] = "good"
    return kind


def _lines(words: list[str], ends: list[int], labels: list[int], kind: list[str]) -> list[str]:
    lines = []
    begin, before = 0, ""
    for row, end in enumerate(ends):
        text, label = " ".join(words[begin:end]), LABELS[labels[row]]
        if row % 5 == 0:
            text = text.replace(" ", ", ", 1)
        elif row % 97 == 0:
            text = text.replace(" ", '\nand "so" ', 1)
        match kind[row]:
            case "good":
                line = f"{_quoted(text)},{label}\n"
            case "duplicate":
                line = f"{_quoted('<b>' + before.upper())},{LABELS[labels[row - 1]]}\n"
            case "same text, other label":
                line = f"{_quoted(before.upper())},{LABELS[labels[row - 1] - 1]}\n"
            case "no text":
                line = f" ,{label}\n"
            case "no label":
                line = f"{_quoted(text)},\n"
            case "wrong number of columns":
                line = f"{_quoted(text)},{label},5 stars\n"
            case "not UTF-8":
                line = f"{_quoted('caf' + chr(0xDCE9) + ' ' + text)},{label}\n"
            case "broken quotes":
                line = f'"{" ".join(words[begin:end])},{label}\n'
            case _:
                line = f"{_quoted((text + ' ') * (100_000 // len(text) + 1))},{label}\n"
        lines.append(line)
        begin, before = end, text
    return lines


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text
