"""Handlers run as Lambda runs them: settings in the environment, AWS in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import pytest
from moto import mock_aws

from tests.handlers.samples import SETTINGS


@dataclass(frozen=True)
class Context:
    """What the logger asks a Lambda context for."""

    function_name: str = "function"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:function"
    aws_request_id: str = "request"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.fixture
def context() -> Context:
    return Context()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stack's bucket, ledger, queues and topic."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket=SETTINGS["BUCKET"])
        boto3.client("s3").put_bucket_versioning(
            Bucket=SETTINGS["BUCKET"], VersioningConfiguration={"Status": "Enabled"}
        )
        boto3.client("dynamodb").create_table(
            TableName=SETTINGS["LEDGER_TABLE"],
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": "kind", "AttributeType": "S"},
                {"AttributeName": "id", "AttributeType": "S"},
            ],
            KeySchema=[{"AttributeName": "kind", "KeyType": "HASH"}, {"AttributeName": "id", "KeyType": "RANGE"}],
        )
        queue = boto3.client("sqs").create_queue(QueueName="batches")["QueueUrl"]
        topic = boto3.client("sns").create_topic(Name="alerts")["TopicArn"]
        for name, value in {**SETTINGS, "BATCH_QUEUE_URL": queue, "ALERTS_TOPIC_ARN": topic}.items():
            monkeypatch.setenv(name, value)
        yield
