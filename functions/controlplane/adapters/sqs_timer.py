"""Delayed messages on the batch queue; SQS waits 15 minutes at the most."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from ..domain.batches import Batch

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

LONGEST = 900


class SqsTimer:
    def __init__(self, sqs: SQSClient, queue_url: str) -> None:
        self._sqs, self._queue_url = sqs, queue_url

    def settle(self, batch: Batch, after: timedelta) -> None:
        self._send(after, dataset=batch.dataset, batch=batch.batch_id, as_of=batch.last_drop_at.isoformat())

    def launch(self, after: timedelta) -> None:
        self._send(after)

    def machine(self, machine_id: str, after: timedelta) -> None:
        self._send(after, machine=machine_id)

    def _send(self, after: timedelta, **told: str) -> None:
        seconds = min(LONGEST, max(0, -(-after // timedelta(seconds=1))))
        self._sqs.send_message(QueueUrl=self._queue_url, MessageBody=json.dumps(told), DelaySeconds=seconds)
