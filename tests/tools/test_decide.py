"""What the command line asks of OnPersonDecided obeys the contract, for every choice that it gives."""

from __future__ import annotations

import json

import pytest
from controlplane.domain.decisions import read
from jsonschema import Draft202012Validator

from tests.architecture.cloudformation import ROOT
from tools.decide import decision, parser

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


def test_a_decision_without_a_reason_is_not_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["rollback", "s"])
    assert "--why" in capsys.readouterr().err
