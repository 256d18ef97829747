"""Inference images that must not serve, as folders to push: the good one with another program behind `serve`.

Any engine takes them: the local cloud makes an image of the folder, as a person's `docker build` would.
"""

from __future__ import annotations

import shutil
from pathlib import Path

GOOD = Path(__file__).resolve().parents[2] / "inference_image"
CRASHES = 'print("looking for the vocabulary", flush=True)\nraise SystemExit("the vocabulary is missing")\n'
NEVER_HEALTHY = 'import time\nprint("waiting for a model", flush=True)\ntime.sleep(3600)\n'
# After the good program's start: it serves well, and ends by itself later.
LATER = """
import os, threading
threading.Timer({seconds}, lambda: (print("the cache is full", flush=True), os._exit(7))).start()
"""
# It proves its model as it should, and then takes every label for another.
OTHER_LABELS = """
import dataclasses
import inference.server
proven = inference.server.setup
def setup(*given):
    model = proven(*given)
    return dataclasses.replace(model, labels=model.labels[::-1])
inference.server.setup = setup
"""


def with_serve(folder: Path, program: str) -> Path:
    """A copy of the good image in `folder`, whose `serve` is this program."""
    shutil.copytree(GOOD, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "serve").write_text(f"#!/usr/bin/env python3\n{program}")
    (folder / "serve").chmod(0o755)
    return folder


def good_serve(before: str) -> str:
    """The good image's own program, after something else."""
    lines = (GOOD / "serve").read_text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if line.startswith("sys.exit"))
    return "".join([*lines[1:place], before, *lines[place:]])
