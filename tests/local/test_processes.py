from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from local.processes import MARK, NotInTime, belonging_to, last_line, leashed, started_at, wait_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / uuid.uuid4().hex


def environment(state: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), MARK: str(state)}


def run(script: str, state: Path, *, stay: bool = False, grace: float = 5.0) -> subprocess.Popen[bytes]:
    state.mkdir()
    return leashed(
        ["/bin/sh", "-c", script], env=environment(state), folder=state, output=state / "log", grace=grace, stay=stay
    )


def test_the_exit_code_is_handed_on(state: Path) -> None:
    assert run("exit 7", state).wait(10) == 7


def test_what_a_command_leaves_behind_ends_with_it(state: Path) -> None:
    assert run("setsid sleep 300 & exit 0", state).wait(10) == 0
    assert belonging_to(state) == {}


def test_a_stop_asks_first_and_kills_after_the_grace(state: Path) -> None:
    process = run("trap 'echo asked' TERM; echo up; while true; do sleep 0.1; done", state, grace=0.5)
    wait_until(lambda: "up" in (state / "log").read_text(), 10, "The start")
    process.send_signal(signal.SIGTERM)
    process.wait(10)
    assert "asked" in (state / "log").read_text()
    assert belonging_to(state) == {}


def test_a_leash_that_stays_outlives_its_command(state: Path) -> None:
    process = run("echo done", state, stay=True)
    wait_until(lambda: "done" in (state / "log").read_text(), 10, "The command")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.wait(10)
    assert belonging_to(state) == {}


def test_nothing_outlives_a_parent_that_was_killed(state: Path) -> None:
    """A process of ours starts a leashed shell, which starts a session of its own; then ours is killed."""
    state.mkdir()
    script = (
        "import time; from pathlib import Path; from local.processes import leashed; import os\n"
        f"leashed(['/bin/sh', '-c', 'setsid sleep 300 & sleep 300'], env=dict(os.environ), "
        f"folder=Path({str(state)!r}), output=Path({str(state / 'log')!r}))\n"
        "time.sleep(300)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], env=environment(state))
    wait_until(lambda: sum("sleep 300" in line for line in belonging_to(state).values()) >= 3, 10, "The start")
    parent.kill()
    parent.wait()
    wait_until(lambda: belonging_to(state) == {}, 5, "The end of all below")


def test_waiting_says_what_did_not_happen() -> None:
    with pytest.raises(NotInTime, match="The moon did not happen within 0.05 s"):
        wait_until(lambda: False, 0.05, "The moon")


def test_a_process_that_is_gone_has_no_start() -> None:
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    assert started_at(gone.pid) is None
    assert started_at(os.getpid()) is not None


def test_the_last_line_of_a_log_skips_what_is_empty(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(log) == "nothing was logged"
    log.write_text("first\n  why it ended  \n\n")
    assert last_line(log) == "why it ended"
