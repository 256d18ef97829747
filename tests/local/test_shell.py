"""What `make env` does to a shell, and that no make target is changed by it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from local.aws import Aws
from local.shell import script, settings
from tools.cloudformation import template

ROOT = Path(__file__).resolve().parents[2]
OUTPUTS = dict.fromkeys(template()["Outputs"], "some")
EXPORTED = settings(Aws("http://127.0.0.1:1", "us-east-1").environment, OUTPUTS, "http://lb.localhost:1")


def makes_parameters() -> set[str]:
    """Names that the Makefile reads and does not set itself: the environment decides them, or the command line."""
    text = (ROOT / "Makefile").read_text()
    return set(re.findall(r"\$(?:\(|\$)(\w+)", text)) - set(re.findall(r"^(?:export )?(\w+) +:?= ", text, re.MULTILINE))


def test_no_name_that_the_shell_gets_is_a_parameter_of_make() -> None:
    assert {"TAG", "INTO", "STACK", "WHY", "F"} <= makes_parameters()
    assert {"REPOSITORY", "BUCKET", "AWS_REGION", "TOPIC"} <= set(EXPORTED)
    assert makes_parameters().isdisjoint({*EXPORTED, "PATH"})


def test_a_shell_that_was_on_an_account_is_on_the_local_cloud_and_on_nothing_else_afterwards() -> None:
    before = {"PATH": os.defpath, "AWS_PROFILE": "prod", "AWS_SESSION_TOKEN": "old", "AWS_REGION": "eu-west-1"}
    told = script({**EXPORTED, "BUCKET": "a b"}, Path("/tools here"))
    ran = subprocess.run(["bash", "-c", f"{told}\nenv"], env=before, capture_output=True, text=True, check=True)
    after = dict(line.split("=", 1) for line in ran.stdout.splitlines())
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN"} & set(after)
    assert (after["AWS_REGION"], after["BUCKET"], after["SAM_CLI_TELEMETRY"]) == ("us-east-1", "a b", "0")
    assert after["PATH"].startswith("/tools here:")
