from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from local.emulator.lambda_python import bare_python, in_bare_python


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bare_python(tmp_path_factory.mktemp("lambda"))


def run(python: Path, code: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"]}
    command = [str(python), "-c", code]
    return subprocess.run(command, env=environment, cwd=python.parent, capture_output=True, text=True, check=False)


def test_a_function_has_boto3(python: Path) -> None:
    done = run(python, "import boto3; print(boto3.client('s3', 'us-east-1').meta.service_model.service_name)")
    assert (done.stdout.strip(), done.stderr) == ("s3", "")


@pytest.mark.parametrize("name", ["fastapi", "pytest", "ministack", "local"])
def test_a_function_has_nothing_that_its_package_did_not_bring(python: Path, name: str) -> None:
    assert f"No module named '{name}'" in run(python, f"import {name}").stderr


def test_only_python_functions_run_in_it(python: Path) -> None:
    detect = in_bare_python(lambda runtime: (f"/bin/{runtime}", "script"), python)
    assert detect("python3.12") == (str(python), "script")
    assert detect("nodejs22.x") == ("/bin/nodejs22.x", "script")


def test_made_again_it_is_the_same(python: Path) -> None:
    assert bare_python(python.parent) == python
    assert run(python, "import boto3").returncode == 0
