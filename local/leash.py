"""Runs one command so that it, and everything it starts, ends when the process that asked for it ends.

Promise: no process below this one outlives it, not even when the one above is killed with SIGKILL.
Started as a plain file by `local.processes.leashed`, before any package is imported, so that it costs little.

    python leash.py PARENT_PID GRACE_SECONDS stay|end COMMAND ...

`end`: when the command ends, what it left running is killed and its exit code is handed on.
`stay`: the leash stays, as a machine stays on after its boot script.
SIGTERM asks all to end, and kills what is left after the grace.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PARENT_DIED = signal.SIGUSR1


def children(pid: int) -> list[int]:
    """The direct children of a process; empty when it is gone."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(word) for word in task.read_text().split()]
        except OSError:
            continue
    return found


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def reap() -> dict[int, int]:
    """Collect what ended; the exit codes by process id."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def kill_all() -> None:
    """Until no child is left: a killed parent hands its children to us, so one round is not enough."""
    while below := descendants(os.getpid()):
        signal_all(below, signal.SIGKILL)
        reap()
        time.sleep(0.01)


def start(command: list[str], prctl: Callable[..., int], waited: set[signal.Signals]) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, waited)
    try:
        os.execvp(command[0], command)
    except OSError as fault:
        print(f"{command[0]} cannot be started: {fault.strerror}.", file=sys.stderr, flush=True)
        os._exit(127)


def main(parent: int, grace: float, stay: bool, command: list[str]) -> int:
    waited = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, PARENT_DIED}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(PR_SET_PDEATHSIG, PARENT_DIED, 0, 0, 0)
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.getppid() != parent:
        return 1
    first = start(command, prctl, waited)
    code: int | None = None
    deadline: float | None = None
    while True:
        left = 3600.0 if deadline is None else max(0.0, deadline - time.monotonic())
        told = signal.sigtimedwait(waited, left)
        code = reap().get(first, code)
        if told is not None and told.si_signo == PARENT_DIED:
            break
        if told is not None and told.si_signo in (signal.SIGTERM, signal.SIGINT) and deadline is None:
            deadline = time.monotonic() + grace
            signal_all(descendants(os.getpid()), signal.SIGTERM)
        over = code is not None and not stay
        ending = deadline is not None and (time.monotonic() >= deadline or not children(os.getpid()))
        if over or ending:
            break
    kill_all()
    if code is None:
        code = -signal.SIGKILL
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "stay", sys.argv[4:]))
