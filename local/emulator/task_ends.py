"""A task's end is told as on AWS, and its service hears of it.

A task that ends before it was healthy ends with its exit code, its stop code, and its log kept. The emulator calls
every such end a failure to start, forgets the exit code, and forwards a container's log only once it runs. The engine
knows better (`local/engine`): it has the log and says how the container ended.
docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local.engine.tasks import NAME_LABEL, TASK_LABEL

Fail = Callable[[Any, Any, str], None]
Stop = Callable[[Mapping[str, Any]], Any]
UNHEALTHY = "task failed ELB health checks"
EXITED = "the container exited with code"


@dataclass(frozen=True)
class End:
    reason: str
    stop_code: str
    exit_code: int


def end_of(state: Mapping[str, Any]) -> End | None:
    """How the container ended, by the engine's State; None when it never ran."""
    said, code = str(state.get("Error", "")), int(state.get("ExitCode", 0))
    if said.startswith(UNHEALTHY):
        return End("Task failed ELB health checks", "ServiceSchedulerInitiated", code)
    if said.startswith(EXITED):
        return End("Essential container in task exited", "EssentialContainerExited", code)
    return None


def as_aws_ends(ecs: Any, fail: Fail) -> Fail:
    """`ecs` is the emulator's module, `fail` what it does with a task that could not be started."""

    def wrapped(task: Any, docker: Any, reason: str) -> None:
        arn = task["taskArn"]
        containers = docker.containers.list(all=True, filters={"label": f"{TASK_LABEL}={arn}"})
        ends = []
        for container in containers:
            keep_log(ecs, task, container)
            ends.append(end_of(container.attrs["State"]))
        end = next((one for one in ends if one), None)
        if end is None:
            fail(task, docker, reason)
        elif ecs._mark_task_stopped(arn, task, end.reason, end.stop_code, end.exit_code):
            if end.stop_code == "ServiceSchedulerInitiated":  # the emulator counts the other kinds by itself
                ecs._record_service_task_failure(task)
            ecs._cleanup_task_resources(task, docker)
        for container in containers:
            container.remove(force=True)

    return wrapped


def heard_by_its_service(ecs: Any, record: Callable[..., None]) -> Callable[..., None]:
    """`record` counts a task's end. The scheduler of the emulator looks at the service after it only if the task was of
    the newest deployment; one that waits until those of the deployment before leave it room would wait for ever."""
    one_at_a_time = threading.RLock()  # a task that cannot be started ends on the thread that looks

    def wrapped(task: Any, **more: Any) -> None:
        record(task, **more)
        cluster, (kind, _, name) = ecs._cluster_name_from_arn(task["clusterArn"]), task.get("group", "").partition(":")
        if kind == "service":
            with one_at_a_time:
                ecs._reconcile_service_tasks(cluster, f"{cluster}/{name}")

    return wrapped


def draining_together(
    stop: Callable[[Mapping[str, Any]], Any], apart: Callable[..., None]
) -> Callable[[Mapping[str, Any]], Any]:
    """The tasks of the deployment before drain at once, as on AWS; the emulator waits for each of them in turn."""

    def wrapped(asked: Mapping[str, Any]) -> Any:
        if asked.get("reason") != "Deployment completed":
            return stop(asked)
        return apart(stop, asked, thread_name="tidegate-drain")

    return wrapped


def keep_log(ecs: Any, task: Any, container: Any) -> None:
    """All that the container wrote, in the log stream where its task would have written it."""
    definition = ecs._task_defs.get(ecs._resolve_td_key(task["taskDefinitionArn"])) or {}
    name = container.labels.get(NAME_LABEL)
    for told in definition.get("containerDefinitions", []):
        if told.get("name") != name:
            continue
        config = ecs._awslogs_config(told, str(task["taskArn"]).rpartition("/")[2], container.id)
        if config and ecs._ensure_awslogs_stream(config):
            for line in container.logs().decode("utf-8", errors="replace").splitlines():
                ecs._emit_awslogs_event(config, line)
