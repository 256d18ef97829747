"""A new task proves itself before its release serves: it names its release, is ready, and answers the golden set.

The golden set is a few dozen rows that the trainer published with the model, with its own answers
(events/contracts/model_files.json). Only an answer can disagree: a task that could not be asked is asked again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

SHOWN = 60  # characters of a text in a sentence for people
MOST_BYTES = 1_000_000  # of golden texts in one question; Lambda takes 6 MB
ROWS_AT_ONCE = 4  # in one request: users' requests go on between two, and what nobody waits for any more is soon done
MOST_CHARACTERS = 100_000  # of one text, as serving takes it


class ChangedGoldenSet(Exception):
    """golden.json is not the file that the model's manifest names: nothing can be proved by it."""


class Verdict(StrEnum):
    AGREES = "AGREES"
    DISAGREES = "DISAGREES"
    NOT_READY = "NOT_READY"  # it answers, but not yet, or not now, as a task that serves
    NO_ANSWER = "NO_ANSWER"  # it could not be asked


@dataclass(frozen=True)
class Proof:
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True)
class GoldenRow:
    text: str
    label: str


@dataclass(frozen=True)
class Question:
    """What every task of a release must say of itself; without a model it has no rows to answer."""

    release: int
    digest: str
    model: str | None
    rows: tuple[GoldenRow, ...] = ()


@dataclass(frozen=True)
class Reply:
    """A task's HTTP answer; `body` is what its JSON says, None when it is none."""

    status: int
    body: Any = None


def golden_rows(told: Any) -> tuple[GoldenRow, ...]:
    """The rows of golden.json that can be asked; () when it is not what the contract says."""
    if not isinstance(told, list):
        return ()
    rows, size = [], 0
    for row in told:
        text, label = (row.get("text"), row.get("label")) if isinstance(row, dict) else (None, None)
        if not isinstance(text, str) or not isinstance(label, str):
            return ()
        size += len(text.encode())
        if text.strip() and len(text) <= MOST_CHARACTERS and size <= MOST_BYTES:
            rows.append(GoldenRow(text, label))
    return tuple(rows)


def of_version(question: Question, reply: Reply) -> Proof | None:
    """What is wrong with GET /version; None when nothing is."""
    if reply.status >= 500:
        return Proof(Verdict.NOT_READY, f"GET /version answered {reply.status}")
    if reply.status != 200 or not isinstance(reply.body, Mapping):
        return Proof(
            Verdict.DISAGREES, f"GET /version answered {reply.status}, not what the contract serving.json says"
        )
    wanted = {"release": str(question.release), "digest": question.digest, "model": question.model}
    for name, value in wanted.items():
        if reply.body.get(name) != value:
            told = f"GET /version names {name} {reply.body.get(name)!r}, but {value!r} was rolled out"
            return Proof(Verdict.DISAGREES, told)
    return None


def of_readiness(question: Question, reply: Reply) -> Proof | None:
    """What is wrong with GET /ready; None when nothing is. Without a model a task says so, and that is right."""
    said = reply.body if isinstance(reply.body, Mapping) else {}
    if question.model is None:
        if reply.status == 503 and said.get("reason"):
            return None
        return Proof(Verdict.DISAGREES, f"GET /ready answered {reply.status}, but the release has no model")
    if reply.status == 200:
        return None
    return Proof(Verdict.NOT_READY, f"GET /ready answered {reply.status}: {said.get('reason') or 'no reason'}")


def requests(question: Question) -> Iterator[tuple[GoldenRow, ...]]:
    """The golden rows of each POST /predict, in order."""
    for start in range(0, len(question.rows), ROWS_AT_ONCE):
        yield question.rows[start : start + ROWS_AT_ONCE]


def of_answers(question: Question, *replies: Reply, silence: str = "") -> Proof:
    """What the requests got, compared with the trainer's labels; `silence` says why the last ones got no answer.

    Rows that got no answer in time are no disagreement.
    """
    others, agreed = [], 0
    for rows, reply in zip(requests(question), replies, strict=False):
        if reply.status >= 500:
            return Proof(Verdict.NOT_READY, f"POST /predict answered {reply.status}")
        labels = _labels(reply)
        if labels is None or len(labels) != len(rows):
            told = f"POST /predict with {len(rows)} texts answered {reply.status}"
            return Proof(Verdict.DISAGREES, f"{told}, not what the contract serving.json says")
        others += [(row, label) for row, label in zip(rows, labels, strict=True) if row.label != label]
        agreed += sum(row.label == label for row, label in zip(rows, labels, strict=True))
    if others:
        row, got = others[0]
        example = f"{row.text[:SHOWN]!r} got {got!r}, but the trainer got {row.label!r}"
        counted = f"{len(others)} of {agreed + len(others)} rows got another label"
        return Proof(Verdict.DISAGREES, f"golden set: {counted}, e.g. {example}")
    if agreed < len(question.rows):
        told = f"{agreed} of {len(question.rows)} rows of the golden set agree, the next got no answer in time"
        return Proof(Verdict.NO_ANSWER, f"{told}: {silence}. More CPU (TaskCpu) or a smaller model answers sooner")
    return Proof(Verdict.AGREES, f"all {len(question.rows)} rows of the golden set got the trainer's labels")


def _labels(reply: Reply) -> Sequence[object] | None:
    told = reply.body.get("predictions") if reply.status == 200 and isinstance(reply.body, Mapping) else None
    if not isinstance(told, list) or not all(isinstance(each, Mapping) for each in told):
        return None
    return [each.get("label") for each in told]
