"""How a task of a release ended, by ECS, and what it said last, by CloudWatch Logs.

ECS keeps stopped tasks for about an hour.
docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ..domain.crashes import Ended
from ..domain.failures import LINES, FailedTask, readable
from ..domain.releases import Release
from .ecs_service import CONTAINER, ask_about, release_number

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_logs import CloudWatchLogsClient

PREFIX = "task"  # awslogs-stream-prefix in template.yaml
EXITED = "EssentialContainerExited"
BY_ITSELF = {EXITED, "TaskFailedToStart"}
LONG_AGO = datetime.fromtimestamp(0, UTC)


class EcsFailedTasks:
    def __init__(
        self, ecs: ECSClient, logs: CloudWatchLogsClient, *, cluster: str, service: str, log_group: str
    ) -> None:
        self._ecs, self._logs = ecs, logs
        self._cluster, self._service, self._log_group = cluster, service, log_group

    def of(self, release: Release, task_id: str | None = None) -> FailedTask | None:
        stopped = self._tasks("STOPPED")
        own = list(self._of_release([*stopped, *self._tasks("RUNNING")], release))
        named = [task for task in own if _id_of(task) == task_id]
        chosen = max(named or own, key=_how_telling, default=None)
        return None if chosen is None else self._told(chosen)

    def crashed(self, release: Release) -> list[Ended]:
        alone = [task for task in self._tasks("STOPPED") if task.get("stopCode") == EXITED and _stopped_at(task)]
        return [_as_ended(task) for task in self._of_release(alone, release)]

    def _tasks(self, status: Any) -> list[Mapping[str, Any]]:
        return ask_about(self._ecs, self._cluster, self._service, status)

    def _of_release(self, tasks: Iterable[Mapping[str, Any]], release: Release) -> Iterable[Mapping[str, Any]]:
        numbers: dict[str, int | None] = {}
        for task in tasks:
            revision = task["taskDefinitionArn"]
            if revision not in numbers:
                told = self._ecs.describe_task_definition(taskDefinition=revision)["taskDefinition"]
                numbers[revision] = release_number(told)
            if numbers[revision] == release.number:
                yield task

    def _told(self, task: Mapping[str, Any]) -> FailedTask:
        container = _container(task)
        reasons = [task.get("stoppedReason"), container.get("reason")]
        log, lacking = self._last_lines(_id_of(task))
        return FailedTask(
            task_id=_id_of(task),
            stop_code=task.get("stopCode", ""),
            reason="; ".join(readable(reason) for reason in dict.fromkeys(reasons) if reason),
            exit_code=container.get("exitCode"),
            log=log,
            lacking=lacking,
        )

    def _last_lines(self, task_id: str) -> tuple[tuple[str, ...], str]:
        stream = f"{PREFIX}/{CONTAINER}/{task_id}"
        try:
            told = self._logs.get_log_events(
                logGroupName=self._log_group, logStreamName=stream, limit=LINES, startFromHead=False
            )
        except ClientError as fault:
            if fault.response["Error"]["Code"] == "ResourceNotFoundException":
                return (), f"there is no log stream {stream}"
            return (), f"CloudWatch Logs refused: {fault.response['Error']['Code']}"
        return tuple(readable(event["message"]) for event in told["events"][-LINES:]), f"{stream} is empty"


def _id_of(task: Mapping[str, Any]) -> str:
    return str(task["taskArn"]).rpartition("/")[2]


def _container(task: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((one for one in task["containers"] if one["name"] == CONTAINER), {})


def _stopped_at(task: Mapping[str, Any]) -> datetime | None:
    """When its containers ended; ECS sets `stoppedAt` when the network is gone too, up to a minute later."""
    return task.get("executionStoppedAt") or task.get("stoppedAt")


def _as_ended(task: Mapping[str, Any]) -> Ended:
    at = _stopped_at(task)
    assert at, "only stopped tasks ended"
    ran = at - task["startedAt"] if "startedAt" in task else timedelta(0)
    return Ended(_id_of(task), at, ran, _container(task).get("exitCode"))


def _how_telling(task: Mapping[str, Any]) -> tuple[bool, bool, bool, datetime]:
    """Those that ended by themselves first, then those that were ended for a fault, the newest of them."""
    stopped = task.get("lastStatus") == "STOPPED" or "stoppedAt" in task
    at_fault = "failed" in task.get("stoppedReason", "").lower()
    return task.get("stopCode", "") in BY_ITSELF, at_fault, stopped, task.get("stoppedAt") or LONG_AGO
