"""An emulator of our own for the tests that need one: started once, ended with the tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.aws import Aws
from local.processes import MARK, free_port, leashed, wait_until
from local.supervisor import answers, emulator_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def emulator_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("emulator")


@pytest.fixture(scope="session")
def aws(emulator_state: Path) -> Iterator[Aws]:
    """The completed emulator, and nothing else of the local cloud."""
    state, port = emulator_state, free_port()
    settings = emulator_settings(port, "us-east-1", state)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(state),
        "TMPDIR": str(state),
        "PYTHONPATH": str(ROOT),
        MARK: str(state),
    }
    process = leashed(
        [sys.executable, "-m", "local.emulator"],
        env={**env, **settings, "DOCKER_HOST": f"unix://{state}/none.sock"},
        folder=state,
        output=state / "emulator.log",
    )
    aws = Aws(f"http://127.0.0.1:{port}", "us-east-1")
    wait_until(lambda: answers(f"{aws.endpoint}/_ministack/health"), 60, "The start of the emulator")
    yield aws
    process.terminate()
    process.wait()
