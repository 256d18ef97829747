"""When a stack does not answer, a person reads what to do, and each make target asks in its own words."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError

from tools.faults import advice

ROOT = Path(__file__).resolve().parents[2]


def refused(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribeStacks")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (NoCredentialsError(), ["make -s env", "STACK=tidegate-local", "log in"]),
        (refused("ExpiredToken", "The token has expired."), ["make -s env", "log in"]),
        (NoRegionError(), ["make -s env", "STACK=tidegate-local", "set AWS_REGION"]),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), ["make up"]),
        (refused("ValidationError", "Stack with id s does not exist."), ["does not exist", "STACK="]),
        (refused("AccessDenied", "You may not."), ["You may not", "May you read it?"]),
    ],
)
def test_a_fault_is_told_with_what_to_do_about_it(fault: Exception, words: list[str]) -> None:
    told = advice(fault, "s", "read it")
    assert all(word in told for word in words)
    assert ".." not in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rollback"], "Say why"),
        (["rollback", "TO=abc", "WHY=w"], "TO=abc is no number"),
        (["release-held", "N=x", "WHY=w"], "N=x is no number"),
        (["invoke"], "Say which function: make invoke F=OnImagePushed"),
    ],
)
def test_make_asks_back_in_its_own_words(words: list[str], said: str) -> None:
    command = ["make", "--no-print-directory", "-o", ".venv/.ready", *words]
    kept = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "WHY", "TO", "F")
    }
    done = subprocess.run(command, env=kept, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and "usage" not in done.stderr
