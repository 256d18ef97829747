"""What `sam deploy` is told to run; and the placeholder program, run for real."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from controlplane.domain.rollout import Rollout
from controlplane.domain.serving import PROGRAM, Placeholder, serving_release

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
V1, V2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64
DEADLINE_SECONDS = 20.0


def told(rollout: Rollout) -> dict[str, str]:
    return serving_release(rollout, Placeholder("python:3"), repository_uri="1.ecr/inference", bucket="data")


def rolled(rollout: Rollout, **proposal: Any) -> Rollout:
    return rollout.propose(str(proposal), NOON, **proposal)[0].start(NOON)[0]


def test_before_any_release_it_is_the_placeholder() -> None:
    answer = told(Rollout())
    assert (answer["Image"], answer["ModelUri"], answer["Release"]) == ("python:3", "", "none")
    assert answer["Command"].split("|") == ["python3", "-c", PROGRAM]


def test_a_model_alone_serves_nothing_yet() -> None:
    assert told(Rollout().propose("model m1", NOON, model="m1")[0])["Image"] == "python:3"


def test_what_rolls_is_what_is_deployed() -> None:
    assert told(rolled(Rollout(model="m1"), image=V1)) == {
        "Image": f"1.ecr/inference@{V1}",
        "Command": "serve",
        "ModelUri": "s3://data/models/m1/",
        "Release": "1",
    }


def test_an_image_without_a_model_has_no_model_address() -> None:
    assert told(rolled(Rollout(), image=V1))["ModelUri"] == ""


def test_what_only_waits_is_not_deployed() -> None:
    rollout = rolled(Rollout(), image=V1).propose("push", NOON, image=V2)[0]
    assert told(rollout)["Image"] == f"1.ecr/inference@{V1}"


def test_the_program_survives_being_split_at_bars() -> None:
    assert "|" not in PROGRAM
    assert "\n" not in PROGRAM


@pytest.fixture(scope="module")
def placeholder() -> Iterator[int]:
    """The port of the placeholder, run as its container would run it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    environment = {**os.environ, "BIND_ADDRESS": "127.0.0.1", "PORT": str(port)}
    server = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stderr=subprocess.DEVNULL)
    try:
        _wait_until_it_answers(server, port)
        yield port
    finally:
        server.kill()
        server.wait()


def _wait_until_it_answers(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        assert server.poll() is None, "the placeholder ended by itself"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "the placeholder does not listen"


def asked(port: int, method: str, path: str, body: str | None = None) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        assert answer.headers["content-type"] == "application/json"
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_the_placeholder_is_healthy(placeholder: int) -> None:
    assert asked(placeholder, "GET", "/health") == (200, {"status": "alive"})


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("POST", "/predict"), ("GET", "/ready"), ("GET", "/version")]
)
def test_the_placeholder_says_why_it_cannot_answer(placeholder: int, method: str, path: str) -> None:
    status, answer = asked(placeholder, method, path, '{"text": "x"}' if method == "POST" else None)
    assert status == 503
    assert answer["error"] == "No image was pushed yet."
    assert "Push an inference image" in answer["what_to_do"]
