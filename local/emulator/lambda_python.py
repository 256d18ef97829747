"""The Python that functions run in: the standard library, boto3, and what their package brings. Nothing else.

The emulator would run them in the Python of the local cloud itself, where everything is installed: a function that
forgot a requirement would work here and fail on AWS. Promise: what AWS's runtime lacks, this one lacks.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")  # as AWS's runtime has them

Detect = Callable[[str], tuple[str, str]]


def bare_python(folder: Path) -> Path:
    """A program in `folder` that runs this Python with the runtime's packages and no site-packages."""
    packages = folder / "runtime"
    packages.mkdir(parents=True, exist_ok=True)
    for name in RUNTIME:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(
                f"The local cloud needs {name}. Install the development requirements: make install"
            )
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        link = packages / source.name
        link.unlink(missing_ok=True)
        link.symlink_to(source)
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec "{sys.executable}" -S "$@"\n')
    program.chmod(0o755)
    return program


def in_bare_python(detect: Detect, program: Path) -> Detect:
    def wrapped(runtime: str) -> tuple[str, str]:
        binary, script = detect(runtime)
        return (str(program), script) if runtime.startswith("python") else (binary, script)

    return wrapped
