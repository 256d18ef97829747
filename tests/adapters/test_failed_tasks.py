"""Which task of a release is told of, how it ended, and its last words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber
from controlplane.adapters.failed_tasks import EcsFailedTasks
from controlplane.domain.crashes import Ended
from controlplane.domain.failures import FailedTask
from controlplane.domain.releases import Release

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RELEASE = Release(2, "push v2", "sha256:2", "films-1")
Stubs = Callable[[str], tuple[Any, Stubber]]


def task(name: str, revision: int = 2, code: int | None = None, **more: Any) -> dict[str, Any]:
    ended = {} if code is None else {"exitCode": code}
    return {
        "taskArn": f"arn:aws:ecs:r:1:task/c/{name}",
        "taskDefinitionArn": f"arn:td:{revision}",
        "lastStatus": "STOPPED",
        "containers": [{"name": "sidecar", "exitCode": 137}, {"name": "inference", **ended}],
        "stoppedAt": NOON,
        **more,
    }


CRASHED = task("crashed", code=1, stopCode="EssentialContainerExited", stoppedReason="Essential container exited")
UNHEALTHY = task(
    "unhealthy",
    code=137,
    stopCode="ServiceSchedulerInitiated",
    stoppedReason="Task failed ELB health checks in (target-group t)",
    stoppedAt=NOON + timedelta(minutes=1),
)
DRAINED = task(
    "drained",
    code=0,
    stopCode="ServiceSchedulerInitiated",
    stoppedReason="Scaling activity initiated",
    stoppedAt=NOON + timedelta(minutes=9),
)
OF_ANOTHER = task(
    "another", revision=1, code=1, stopCode="EssentialContainerExited", stoppedAt=NOON + timedelta(hours=1)
)
RUNS = task("runs", lastStatus="RUNNING", stoppedAt=None)
del RUNS["stoppedAt"]


@pytest.fixture
def made(stubbed: Stubs) -> tuple[EcsFailedTasks, Stubber, Stubber]:
    (ecs, ecs_stub), (logs, logs_stub) = stubbed("ecs"), stubbed("logs")
    return EcsFailedTasks(ecs, logs, cluster="c", service="s", log_group="/logs"), ecs_stub, logs_stub


def knows(stub: Stubber, stopped: list[dict[str, Any]], running: list[dict[str, Any]]) -> None:
    for status, tasks in (("STOPPED", stopped), ("RUNNING", running)):
        arns = [one["taskArn"] for one in tasks]
        asked = {"cluster": "c", "serviceName": "s", "desiredStatus": status}
        stub.add_response("list_tasks", {"taskArns": arns}, asked)
        if arns:
            stub.add_response("describe_tasks", {"tasks": tasks}, {"cluster": "c", "tasks": arns})
    for revision in dict.fromkeys(one["taskDefinitionArn"] for one in [*stopped, *running]):
        environment = [{"name": "TIDEGATE_RELEASE", "value": revision.rpartition(":")[2]}]
        told = {"taskDefinition": {"containerDefinitions": [{"name": "inference", "environment": environment}]}}
        stub.add_response("describe_task_definition", told, {"taskDefinition": revision})


def said(stub: Stubber, name: str, *lines: str) -> None:
    asked = {"logGroupName": "/logs", "logStreamName": f"task/inference/{name}", "limit": 20, "startFromHead": False}
    stub.add_response("get_log_events", {"events": [{"message": line} for line in lines]}, asked)


@pytest.mark.parametrize(
    ("stopped", "wanted"),
    [
        ([DRAINED, UNHEALTHY, CRASHED, OF_ANOTHER], "crashed"),
        ([DRAINED, UNHEALTHY, OF_ANOTHER], "unhealthy"),
        ([DRAINED, OF_ANOTHER], "drained"),
        ([OF_ANOTHER], "runs"),
    ],
)
def test_the_most_telling_task_of_the_release_is_told_of(
    made: tuple[EcsFailedTasks, Stubber, Stubber], stopped: list[dict[str, Any]], wanted: str
) -> None:
    tasks, ecs, logs = made
    knows(ecs, stopped, [RUNS])
    said(logs, wanted, "a\n", "password=x")
    found = tasks.of(RELEASE)
    assert found and (found.task_id, found.log) == (wanted, ("a", "password=***"))


def test_tasks_of_the_release_that_ended_by_themselves_are_told_with_when_and_after_how_long(
    made: tuple[EcsFailedTasks, Stubber, Stubber],
) -> None:
    tasks, ecs, _ = made
    later = task("later", code=7, stopCode="EssentialContainerExited", startedAt=NOON - timedelta(seconds=40))
    later["executionStoppedAt"] = NOON - timedelta(seconds=20)
    killed = task("killed", stopCode="EssentialContainerExited", startedAt=NOON - timedelta(seconds=9))
    stopped = [
        CRASHED,
        later,
        killed,
        UNHEALTHY,
        DRAINED,
        OF_ANOTHER,
        task("spot", code=143, stopCode="SpotInterruption"),
    ]
    arns = [one["taskArn"] for one in stopped]
    ecs.add_response("list_tasks", {"taskArns": arns}, {"cluster": "c", "serviceName": "s", "desiredStatus": "STOPPED"})
    ecs.add_response("describe_tasks", {"tasks": stopped}, {"cluster": "c", "tasks": arns})
    for revision in (2, 1):
        environment = [{"name": "TIDEGATE_RELEASE", "value": str(revision)}]
        told = {"taskDefinition": {"containerDefinitions": [{"name": "inference", "environment": environment}]}}
        ecs.add_response("describe_task_definition", told, {"taskDefinition": f"arn:td:{revision}"})
    assert tasks.crashed(RELEASE) == [
        Ended("crashed", NOON, timedelta(0), 1),
        Ended("later", NOON - timedelta(seconds=20), timedelta(seconds=20), 7),
        Ended("killed", NOON, timedelta(seconds=9), None),
    ]


def test_the_task_that_was_named_is_told_of(made: tuple[EcsFailedTasks, Stubber, Stubber]) -> None:
    tasks, ecs, logs = made
    knows(ecs, [CRASHED], [RUNS])
    said(logs, "runs")
    found = tasks.of(RELEASE, "runs")
    assert found and (found.task_id, found.exit_code) == ("runs", None)


def test_stop_code_reason_and_exit_code_are_the_tasks_own(made: tuple[EcsFailedTasks, Stubber, Stubber]) -> None:
    tasks, ecs, logs = made
    knows(ecs, [CRASHED], [])
    said(logs, "crashed", "Traceback")
    assert tasks.of(RELEASE) == FailedTask(
        "crashed",
        "EssentialContainerExited",
        "Essential container exited",
        1,
        ("Traceback",),
        "task/inference/crashed is empty",
    )


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "ThrottlingException"])
def test_a_log_that_is_not_there_is_said_and_no_error(made: tuple[EcsFailedTasks, Stubber, Stubber], code: str) -> None:
    tasks, ecs, logs = made
    knows(ecs, [CRASHED], [])
    logs.add_client_error("get_log_events", code, "no")
    found = tasks.of(RELEASE)
    assert found and found.log == () and found.lacking


def test_a_release_of_which_nothing_is_known_any_more(made: tuple[EcsFailedTasks, Stubber, Stubber]) -> None:
    tasks, ecs, _ = made
    knows(ecs, [OF_ANOTHER], [])
    assert tasks.of(RELEASE) is None
