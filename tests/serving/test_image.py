"""What the inference image is made of: little, pinned, and the same as what was tested."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "inference_image"
PIN = re.compile(r"^([a-z0-9-]+)==(\S+?)(?: \\)?$", re.MULTILINE)
LOCKS = ("requirements.txt", "requirements-alone.txt")
LOCKED = dict(pin for name in LOCKS for pin in PIN.findall((FOLDER / name).read_text()))
WANTED = dict(pin for name in ("requirements.in", LOCKS[1]) for pin in PIN.findall((FOLDER / name).read_text()))
TYPES_ONLY = {"mypy_boto3_s3"}


def last_stage() -> list[str]:
    instructions = re.sub(r"\\\n\s*", " ", (FOLDER / "Dockerfile").read_text()).splitlines()
    start = max(number for number, line in enumerate(instructions) if line.startswith("FROM "))
    return [line for line in instructions[start:] if line and not line.startswith("#")]


def imported() -> set[str]:
    names: set[str] = set()
    for file in [FOLDER / "serve", *(FOLDER / "inference").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"inference"} - TYPES_ONLY


def test_every_module_that_is_imported_is_pinned_and_nothing_of_training_is() -> None:
    assert imported() <= set(WANTED)
    assert not set(LOCKED) & {
        "torch",
        "pandas",
        "scikit-learn",
        "onnx",
        "matplotlib",
        "httpx",
        "huggingface-hub",
        "pytest",
    }


def test_every_package_of_the_lock_has_hashes_and_no_host_is_named() -> None:
    lock = "\n".join((FOLDER / name).read_text() for name in LOCKS)
    blocks = re.split(r"\n(?=[a-z0-9-]+==)", lock)[1:]
    assert len(blocks) == len(LOCKED) > 20
    assert all("--hash=sha256:" in block for block in blocks)
    assert not re.search(r"://|--index|--find-links [^-]|--trusted", lock)


@pytest.mark.parametrize("package", sorted(LOCKED))
def test_the_image_has_what_these_tests_ran_with(package: str) -> None:
    assert LOCKED[package] == version(package)
    assert WANTED.get(package, LOCKED[package]) == LOCKED[package]


def test_the_last_stage_runs_serve_as_a_numeric_user_and_adds_nothing_else() -> None:
    stage = last_stage()
    assert [line for line in stage if line.startswith(("COPY", "ADD", "RUN"))] == [
        "COPY --from=build /venv /venv",
        "COPY --from=build /build/app /app",
    ]
    assert re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", next(line for line in stage if line.startswith("USER")))
    assert stage[-1] == 'CMD ["serve"]'
    assert {"EXPOSE 8080", "STOPSIGNAL SIGTERM"} <= set(stage)
    assert "PATH=/app:/venv/bin:" in next(line for line in stage if line.startswith("ENV"))


def test_the_builder_sees_exactly_what_is_copied() -> None:
    copied: set[str] = set()
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE):
        copied.update(sources.split())
    allowed = set(re.findall(r"^!(.+)$", (FOLDER / ".dockerignore").read_text(), re.MULTILINE))
    assert copied == allowed
    assert all((FOLDER / name).exists() for name in copied)


def test_serve_is_an_executable_script_for_any_python() -> None:
    assert (FOLDER / "serve").stat().st_mode & 0o111 == 0o111
    assert (FOLDER / "serve").read_text().startswith("#!/usr/bin/env python3\n")


def test_only_the_start_hands_the_environment_to_the_settings() -> None:
    readers = {
        file.name
        for file in (FOLDER / "inference").glob("*.py")
        if re.search(r"os\.environ|os\.getenv|getenv\(", file.read_text())
    }
    assert readers == {"server.py", "__init__.py"}  # the package only writes there, to silence ONNX Runtime
    assert (FOLDER / "inference" / "server.py").read_text().count("os.environ") == 1
