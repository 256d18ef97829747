"""A one-shot schedule a machine: EventBridge Scheduler ends it at its time, with a role that can do only that.

docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html: no function of ours is in between.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_scheduler import EventBridgeSchedulerClient


class SchedulerGuard:
    def __init__(self, scheduler: EventBridgeSchedulerClient, *, group: str, role_arn: str) -> None:
        self._scheduler, self._group, self._role_arn = scheduler, group, role_arn

    def set(self, machine_id: str, at: datetime) -> None:
        partition = self._role_arn.split(":")[1]
        try:
            self._scheduler.create_schedule(
                Name=f"end-{machine_id}",
                GroupName=self._group,
                Description="Ends a training machine that outlived everything else that would end it.",
                ScheduleExpression=f"at({at.astimezone(UTC):%Y-%m-%dT%H:%M:%S})",
                ScheduleExpressionTimezone="UTC",
                FlexibleTimeWindow={"Mode": "OFF"},
                ActionAfterCompletion="DELETE",
                Target={
                    "Arn": f"arn:{partition}:scheduler:::aws-sdk:ec2:terminateInstances",
                    "RoleArn": self._role_arn,
                    "Input": json.dumps({"InstanceIds": [machine_id]}),
                    "RetryPolicy": {"MaximumRetryAttempts": 5, "MaximumEventAgeInSeconds": 3600},
                },
            )
        except self._scheduler.exceptions.ConflictException:
            return  # set before
