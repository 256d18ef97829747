"""CloudFormation always gets an answer, over real HTTP: what serves, or why it cannot be told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
import on_stack_deploying
import pytest
from controlplane.adapters.dynamo_ledger import DynamoLedger
from controlplane.domain.rollout import Rollout

from tests.flows.fakes import NOON
from tests.handlers.samples import sample

pytestmark = pytest.mark.usefixtures("aws")


class Answers(BaseHTTPRequestHandler):
    """S3's presigned address: takes one PUT."""

    received: list[tuple[str | None, dict[str, Any]]]

    def do_PUT(self) -> None:  # noqa: N802  the base class's name
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.headers["Content-Type"], json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def cloudformation(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[Any]]]:
    """The address to answer to, and what was answered."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Answers.received = []
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/answer?signature=x", Answers.received
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def fresh() -> None:
    on_stack_deploying.flow.cache_clear()


def answered(cloudformation: tuple[str, list[Any]], context: object, kind: str = "Create") -> dict[str, Any]:
    address, received = cloudformation
    on_stack_deploying.handler({**sample("on_stack_deploying"), "ResponseURL": address, "RequestType": kind}, context)
    [(content_type, answer)] = received
    assert content_type == "", "the signature covers an empty content type"
    assert len(json.dumps(answer)) <= 4096, "CloudFormation takes no longer answer"
    for name in ("StackId", "RequestId", "LogicalResourceId"):
        assert answer[name] == sample("on_stack_deploying")[name]
    assert answer["PhysicalResourceId"] == "serving-release"
    return dict(answer)


def test_before_any_release_it_is_the_placeholder(cloudformation: Any, context: object) -> None:
    answer = answered(cloudformation, context)
    assert answer["Status"] == "SUCCESS"
    assert (answer["Data"]["Image"], answer["Data"]["Release"]) == ("python:3", "none")


def test_an_update_gets_what_serves(cloudformation: Any, context: object) -> None:
    rollout, _ = Rollout().propose("push", NOON, image="sha256:1", model="films-1")
    started, _ = rollout.start(NOON)
    DynamoLedger(boto3.client("dynamodb"), "ledger", list[int]().append).save_rollout(started, [], [])
    answer = answered(cloudformation, context, "Update")
    assert answer["Data"] == {
        "Image": "1.ecr/inference@sha256:1",
        "Command": "serve",
        "ModelUri": "s3://data/models/films-1/",
        "Release": "1",
    }


def test_a_delete_succeeds_even_when_the_ledger_is_gone(cloudformation: Any, context: object) -> None:
    boto3.client("dynamodb").delete_table(TableName="ledger")
    assert answered(cloudformation, context, "Delete")["Status"] == "SUCCESS"


def test_a_ledger_that_cannot_be_read_is_told(cloudformation: Any, context: object) -> None:
    boto3.client("dynamodb").delete_table(TableName="ledger")
    answer = answered(cloudformation, context)
    assert answer["Status"] == "FAILED"
    assert "ResourceNotFoundException" in answer["Reason"]


def test_missing_settings_are_told(cloudformation: Any, context: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLACEHOLDER_IMAGE")
    answer = answered(cloudformation, context)
    assert answer["Status"] == "FAILED"
    assert "PLACEHOLDER_IMAGE" in answer["Reason"]
