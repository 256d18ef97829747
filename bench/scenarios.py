"""The rows that models are measured on: a given CSV, cut by a hash, and made-up ones for what is awkward in life."""

from __future__ import annotations

import csv
import gzip
import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

from trainer.rows import LABEL_NAMES, TEXT_NAMES

Row = tuple[str, str]  # text, label


@dataclass(frozen=True)
class Scenario:
    name: str
    train: list[Row]
    test: list[Row]
    peers: tuple[str, ...] = ()  # who is measured; empty: all


def read(path: Path) -> list[Row]:
    """The rows of a CSV (may be gzip) whose columns the trainer would find by itself."""
    csv.field_size_limit(1 << 24)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        names = {name.strip().lower(): name for name in rows.fieldnames or ()}
        text = next(names[each] for each in TEXT_NAMES if each in names)
        label = next(names[each] for each in LABEL_NAMES if each in names)
        return [(row[text], row[label]) for row in rows if row[text] and row[label]]


def write(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        written = csv.writer(file)
        written.writerow(["text", "label"])
        written.writerows(rows)


def held_out(rows: list[Row], share: float = 0.2) -> tuple[list[Row], list[Row]]:
    """Train and test, decided by a hash of the text: equal texts are on one side."""
    sides: tuple[list[Row], list[Row]] = ([], [])
    for row in rows:
        at = int.from_bytes(hashlib.sha256(row[0].encode()).digest()[:8], "big") / 2**64
        sides[at < share].append(row)
    return sides


def shuffled(rows: list[Row], seed: int) -> list[Row]:
    rows = list(rows)
    random.Random(seed).shuffle(rows)
    return rows


def by_class(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row[1])


GERMAN = (
    "schön großartig überzeugend rührend köstlich fröhlich",
    "öde übel fürchterlich enttäuschend ärgerlich dümmlich",
    "der die das ein und film war mit für über auf größe straße mädchen gespräch schluss musik bild nicht sehr",
)
CHINESE = (
    "精彩 感人 好看 优秀 喜欢 温暖",
    "无聊 糟糕 难看 失望 讨厌 乏味",
    "这部 电影 故事 演员 音乐 结局 我们 一个 时候 没有 觉得 非常 画面 导演 今天 他们 剧情 开始",
)


def language(name: str, words: tuple[str, str, str], joint: str, rows: int, seed: int) -> Scenario:
    """Short texts with one or two words that tell; every tenth row has the wrong label."""
    pick = random.Random(seed)
    good, bad, plain = (each.split() for each in words)
    made = []
    for _ in range(rows):
        side = pick.randrange(2)
        text = pick.choices(plain, k=pick.randint(6, 14))
        for _ in range(pick.randint(1, 2)):
            text.insert(pick.randrange(len(text)), pick.choice((good, bad)[side]))
        label = side if pick.random() < 0.9 else 1 - side
        made.append((joint.join(text), ("gut", "schlecht")[label]))
    return Scenario(name, *held_out(made))


def many_classes(name: str, classes: int, rows: int, seed: int, rare: int = 1) -> Scenario:
    """Classes with some words of their own. With `rare`, the last class has one row where the others have so many."""
    pick = random.Random(seed)
    plain = [f"word{number}" for number in range(400)]
    shares = [rare] * (classes - 1) + [1]
    made = []
    for _ in range(rows):
        label = pick.choices(range(classes), shares)[0]
        spoken = label if pick.random() < 0.9 else pick.choices(range(classes), shares)[0]
        own = [f"own{spoken}x{pick.randrange(12)}" for _ in range(2)]
        text = [*pick.choices(plain, k=10), *own]
        pick.shuffle(text)
        made.append((" ".join(text), f"class {label:02}"))
    return Scenario(name, *held_out(made))


def awkward(rows: int, seed: int) -> list[Scenario]:
    return [
        many_classes("1:50", 2, rows, seed, rare=50),
        many_classes("20 classes", 20, rows, seed),
        language("200 rows", GERMAN, " ", 200, seed),
        language("German", GERMAN, " ", rows, seed),
        language("Chinese", CHINESE, "", rows, seed),
    ]
