"""What the command line asks of OnPersonDecided obeys the contract, for every choice that it gives."""

from __future__ import annotations

import json

import pytest
from controlplane.domain.decisions import read
from jsonschema import Draft202012Validator

from tests.architecture.cloudformation import ROOT
from tools.decide import decision, parser, unclear

CONTRACT = json.loads((ROOT / "events" / "contracts" / "decision.json").read_text())


@pytest.mark.parametrize(
    ("words", "action", "release", "dry"),
    [
        (["rollback", "s", "--why", "w"], "roll_back", None, False),
        (["rollback", "s", "--why", "w", "--release", "3", "--dry-run"], "roll_back", 3, True),
        (["release-held", "s", "--why", "w", "--release", "7"], "release", 7, False),
    ],
)
def test_a_decision_obeys_the_contract_and_is_read(
    words: list[str], action: str, release: int | None, *, dry: bool
) -> None:
    told = decision(parser().parse_args(words), "arn:aws:iam::000000000000:user/ada", "an-id")
    assert list(Draft202012Validator(CONTRACT).iter_errors(told)) == []
    taken = read(told, "request")
    assert (taken.action, taken.release, taken.dry_run, taken.decision_id) == (action, release, dry, "an-id")


def test_the_sample_event_obeys_the_contract() -> None:
    told = json.loads((ROOT / "events" / "on_person_decided.json").read_text())
    assert list(Draft202012Validator(CONTRACT).iter_errors(told)) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rollback", "s"], "Say why: make rollback WHY='…'"),
        (["rollback", "s", "--why", " "], "Say why: make rollback WHY='…'"),
        (["rollback", "s", "--why", "w", "--release", "abc"], "TO=abc is no number of a release"),
        (["release-held", "s", "--why", "w", "--release", "-7"], "N=-7 is no number of a release"),
    ],
)
def test_what_a_decision_lacks_is_said_in_the_words_of_make(words: list[str], said: str) -> None:
    assert unclear(parser().parse_args(words)).startswith(said)
