"""Several processes on one machine, one a GPU, started by torchrun. Rank 0 is the attempt; the others step with it.

Only rank 0 knows bucket, log and notice. It tells the others what to learn from, and before each step that there is
one; when it ends, however it ends, it lets them go. Several machines would change `launch` alone: one address for all.

Known downside: torchrun gives rank 0 half a minute after SIGTERM. A Spot notice comes by the metadata service instead.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed


class Team:
    """Rank 0's way to the others. With nobody else it does nothing."""

    def __init__(self, others: bool = False) -> None:
        self.others = others

    def tell(self, order: Any) -> None:
        if self.others:
            distributed.broadcast_object_list([order], src=0)

    def dismiss(self) -> None:
        """They end. Can be said any number of times."""
        self.tell(None)
        self.others = False


def hear() -> Any:
    """What rank 0 tells; None = it is over."""
    box = [None]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def join() -> int:
    """Become one of the processes that torchrun started; gives the rank."""
    gpu = torch.cuda.is_available()
    # Rank 0 may read rows for hours before there is a step.
    distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=timedelta(days=7))
    rank = distributed.get_rank()
    if gpu:
        torch.cuda.set_device(rank)
    if rank:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # rank 0 says when it is over
    return rank


def launch(processes: int, environ: Mapping[str, str]) -> int:
    """This program, so many times, under torchrun; gives the exit code of rank 0."""
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        told = Path(folder) / "exit-code"
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [sys.executable, *torchrun, "-m", "trainer", "--rank-of-a-team", str(told)]
        with subprocess.Popen(command, env=dict(environ)) as process:
            before = signal.signal(signal.SIGTERM, lambda _number, _frame: process.terminate())
            code = process.wait()
            signal.signal(signal.SIGTERM, before)
        return int(told.read_text()) if told.exists() else code or 1
