"""AWS in memory (moto), or clients whose every answer is written down; with dummy keys, no account can be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from controlplane.adapters.dynamo_ledger import DynamoLedger
from controlplane.ports import Ledger
from moto import mock_aws

from tests.adapters.ledgers import never, table
from tests.flows.fakes import FakeLedger

Clients = Callable[[str], Any]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    """Makes clients of an AWS in memory."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    make: Any = boto3.client
    with mock_aws():
        yield make


@cache
def _unanswered(service: str) -> Any:
    session: Any = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    return session.client(service)


@pytest.fixture
def stubbed() -> Iterator[Callable[[str], tuple[Any, Stubber]]]:
    """Makes clients that give the answers of their stub, in order; all of them have to be asked for."""
    stubs: list[Stubber] = []

    def make(service: str) -> tuple[Any, Stubber]:
        client = _unanswered(service)
        stub = Stubber(client)
        stub.activate()
        stubs.append(stub)
        return client, stub

    yield make
    for stub in stubs:
        stub.deactivate()
        stub.assert_no_pending_responses()


@pytest.fixture(params=["fake", "dynamodb"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """The one in memory, and the one on DynamoDB."""
    if request.param == "fake":
        return FakeLedger()
    return DynamoLedger(table(request.getfixturevalue("aws")), "ledger", never)
