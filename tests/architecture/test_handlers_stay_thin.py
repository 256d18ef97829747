"""A handler parses, calls and logs. What it may import says so."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.cloudformation import ROOT

HANDLERS = sorted((ROOT / "functions").glob("on_*.py"))
OURS = {"controlplane.wiring", "controlplane.domain", "controlplane.ports"}
THEIRS = {"aws_lambda_powertools"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "handlers are top-level modules"
            for alias in node.names:
                yield f"{node.module}.{alias.name}" if node.module == "controlplane" else str(node.module)


@pytest.mark.parametrize("path", HANDLERS, ids=lambda path: path.stem)
def test_a_handler_imports_wiring_domain_and_ports_alone(path: Path) -> None:
    for name in imported(path):
        if name.split(".")[0] in sys.stdlib_module_names or name.split(".")[0] in THEIRS:
            continue
        assert ".".join(name.split(".")[:2]) in OURS, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", HANDLERS, ids=lambda path: path.stem)
def test_importing_a_handler_does_nothing(path: Path) -> None:
    """The flow is built on first use: no call at import but the logger and the cache around wiring."""
    calls = [
        node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]
    assert calls == []


@pytest.mark.parametrize("path", sorted((ROOT / "functions").rglob("*.py")), ids=lambda path: path.stem)
def test_only_settings_and_wiring_know_the_environment(path: Path) -> None:
    if path.stem in {"settings", "wiring"}:
        return
    names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    assert not {"environ", "getenv"} & (names | attributes)


@pytest.mark.parametrize("path", sorted((ROOT / "functions").rglob("*.py")), ids=lambda path: path.stem)
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 400
