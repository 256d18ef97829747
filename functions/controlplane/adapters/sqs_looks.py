"""Delayed messages that have the rollout looked at again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class SqsLooks:
    def __init__(self, sqs: SQSClient, queue_url: str) -> None:
        self._sqs, self._queue_url = sqs, queue_url

    def again(self, after: timedelta) -> None:
        seconds = -(-after // timedelta(seconds=1))
        self._sqs.send_message(QueueUrl=self._queue_url, MessageBody='{"look": "rollout"}', DelaySeconds=seconds)
