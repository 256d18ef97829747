"""Whether the tests marked `engine` can run here: `python -m tests.engine.ready` says what to do when they cannot."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from local.engine.docker import DEFAULT_HOST, Docker, EngineFault, unusable
from local.invoke import ARCHITECTURE

HOST = os.environ.get("DOCKER_HOST") or DEFAULT_HOST
BASE = os.environ.get("TIDEGATE_BASE_IMAGE", "tidegate-base:bookworm")
LAMBDA = f"public.ecr.aws/lambda/python:3.11-{ARCHITECTURE.get(platform.machine(), 'x86_64')}"


def missing() -> str | None:
    """Why they cannot run; None when they can."""
    if fault := unusable(HOST):
        return fault
    docker = Docker(HOST, Path(os.devnull))
    for image in (BASE, LAMBDA):
        try:
            docker("image", "inspect", image)
        except EngineFault:
            return f"the engine at {HOST} has no image {image}"
    return None


if __name__ == "__main__":
    if fault := missing():
        sys.exit(
            f"The tests that need a container engine cannot run: {fault}.\n"
            "On Debian this installs and starts one where none answers, and makes the base images: .ci/engine"
        )
