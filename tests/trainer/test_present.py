"""What a machine still has to install."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from trainer.present import missing

ROOT = Path(__file__).resolve().parents[2]


def installed(name: str) -> str:
    if name != "there":
        raise PackageNotFoundError(name)
    return "1.2"


@pytest.mark.parametrize(
    ("line", "met"),
    [
        ("there==1.2", True),
        ("there==1.2  # why", True),
        ("there==1.20", False),
        ("there>=1.2", False),
        ("there", False),
        ("elsewhere==1.2", False),
        ("-r more.txt", False),
    ],
)
def test_only_a_pin_that_is_installed_is_met(line: str, met: bool) -> None:
    assert missing(f"# why\n\n{line}\n", installed) == ([] if met else [line.partition("#")[0].strip()])


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-transformer.txt"])
def test_the_trainers_own_lists_are_pins_that_it_can_judge(name: str) -> None:
    lines = [line for line in (ROOT / "trainer" / name).read_text().splitlines() if not line.startswith("#")]
    wanted = dict(line.split("==") for line in lines if line)
    assert wanted and missing("\n".join(lines), lambda package: wanted[package]) == []


def test_the_program_ends_well_only_when_nothing_is_missing_and_else_says_what(tmp_path: Path) -> None:
    def ask(text: str) -> tuple[int, str]:
        (tmp_path / "list").write_text(text)
        command = [sys.executable, "-m", "trainer.present", str(tmp_path / "list")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    here = f"numpy=={version('numpy')}"
    assert ask(here) == (0, "")
    assert ask(f"{here}\nno-such-package==1") == (1, "not installed yet: no-such-package==1\n")
