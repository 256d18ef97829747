"""People, told through an SNS topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..domain.alerts import Alert

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


class SnsNotifier:
    def __init__(self, sns: SNSClient, topic_arn: str) -> None:
        self._sns, self._topic_arn = sns, topic_arn

    def tell(self, alert: Alert) -> None:
        self._sns.publish(TopicArn=self._topic_arn, Subject=alert.subject, Message=alert.body)
