"""Timers on SQS, people on SNS, images in ECR."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from botocore.stub import ANY, Stubber
from controlplane.adapters.sns_notifier import SnsNotifier
from controlplane.adapters.sqs_timer import SqsTimer
from controlplane.domain.alerts import Alert
from controlplane.domain.batches import Batch

from tests.flows.fakes import NOON

Clients = Callable[[str], Any]
Stubs = Callable[[str], tuple[Any, Stubber]]
BATCH = Batch.opened("größe\n+", NOON).with_accepted(NOON)


class TestTimer:
    def test_the_message_names_batch_and_last_drop(self, aws: Clients) -> None:
        sqs = aws("sqs")
        url = sqs.create_queue(QueueName="batches")["QueueUrl"]
        SqsTimer(sqs, url).settle(BATCH, timedelta())
        SqsTimer(sqs, url).launch(timedelta(seconds=-5))
        SqsTimer(sqs, url).machine("i-1", timedelta())
        bodies = [json.loads(sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"]) for _ in range(3)]
        named = {"dataset": BATCH.dataset, "batch": BATCH.batch_id, "as_of": NOON.isoformat()}
        assert bodies == [named, {}, {"machine": "i-1"}]

    @pytest.mark.parametrize(
        ("after", "delay"),
        [
            (timedelta(seconds=60), 60),
            (timedelta(seconds=0.2), 1),
            (timedelta(hours=2), 900),
            (timedelta(), 0),
            (timedelta(seconds=-3), 0),
            (timedelta(seconds=59.0001), 60),
        ],
    )
    def test_it_never_rings_early_and_never_asks_for_more_than_sqs_gives(
        self, stubbed: Stubs, after: timedelta, delay: int
    ) -> None:
        sqs, stub = stubbed("sqs")
        stub.add_response("send_message", {}, {"QueueUrl": "q", "MessageBody": ANY, "DelaySeconds": delay})
        SqsTimer(sqs, "q").settle(BATCH, after)


def test_people_get_subject_and_body(aws: Clients) -> None:
    sns, sqs = aws("sns"), aws("sqs")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    alert = Alert.of("x", "Größe\x01", happened="h", why="größe", done="d", to_do="t", look="l")
    SnsNotifier(sns, topic).tell(alert)
    mail = json.loads(sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"])
    assert (mail["Subject"], mail["Message"]) == ("Gr??e?", alert.body)
