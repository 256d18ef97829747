"""Starting, waiting for and finding the processes of the local cloud.

Promise: whatever `leashed` starts ends with the process that started it, and `belonging_to` finds what did not.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LEASH = Path(__file__).with_name("leash.py")
MARK = "TIDEGATE_LOCAL_STATE"  # every process of one local cloud carries its state folder under this name


class NotInTime(Exception):
    """What was waited for did not happen."""


def leashed(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    folder: Path,
    output: Path,
    grace: float = 5.0,
    stay: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a command that ends with us. Call it from a thread that lives as long as the command shall."""
    with output.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-S", "-E", str(LEASH), str(os.getpid()), str(grace), "stay" if stay else "end", *command],
            env=dict(env),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait_until(holds: Callable[[], bool], seconds: float, what: str, *, every: float = 0.05) -> None:
    """Return when it holds; raise NotInTime with a sentence otherwise."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() >= deadline:
            raise NotInTime(f"{what} did not happen within {seconds:g} s.")
        time.sleep(every)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def started_at(pid: int) -> str | None:
    """When a process started, in the kernel's ticks, to tell a reused process id apart. None when it is gone."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if after_name[0] == "Z" else after_name[19]


def belonging_to(state: Path) -> dict[int, str]:
    """The processes of the cloud with this state folder, with their command lines; this process is not one of them."""
    mark = f"{MARK}={state}".encode()
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        pid = int(entry.name)
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if mark in environment and started_at(pid) is not None:
            found[pid] = line
    return found


def last_line(log: Path) -> str:
    """The last line of a log that says something, for an error that a person reads."""
    if not log.exists():
        return "nothing was logged"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "nothing was logged"
