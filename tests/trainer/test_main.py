"""The program as the machine starts it, and what holds it together with its surroundings."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest

from trainer import VERSION
from trainer.__main__ import main
from trainer.settings import Settings, WrongEnvironment

TRAINER = Path(__file__).parents[2] / "trainer"


def test_help_names_every_variable_that_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"], {})
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for name in re.findall(r"TIDEGATE_[A-Z_]+|AWS_EC2[A-Z_]+", (TRAINER / "settings.py").read_text(encoding="utf-8")):
        assert name in shown or name.removeprefix("TIDEGATE_MACHINE") in shown


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"], {})
    assert ended.value.code == 0
    assert VERSION in capsys.readouterr().out


def test_a_wrong_environment_is_told_as_a_whole_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], {"TIDEGATE_ATTEMPT": "zero"}) == 2
    told = capsys.readouterr().err
    assert "TIDEGATE_BUCKET is not set; TIDEGATE_RUN is not set; TIDEGATE_ATTEMPT must be a whole number" in told


@pytest.mark.parametrize("attempt", ["0", "-1", "1.5", "²"])
def test_an_attempt_is_a_whole_number_from_1(attempt: str) -> None:
    with pytest.raises(WrongEnvironment, match="TIDEGATE_ATTEMPT must be a whole number from 1"):
        Settings.of({"TIDEGATE_BUCKET": "b", "TIDEGATE_RUN": "r", "TIDEGATE_ATTEMPT": attempt})


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-transformer.txt"])
def test_requirements_are_the_versions_that_are_tested_here_and_torch_is_the_machines(name: str) -> None:
    lines = (TRAINER / name).read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert pins == {name: importlib.metadata.version(name) for name in pins}
    assert "torch" not in pins and "numpy" not in pins
