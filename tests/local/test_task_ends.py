"""How a task that never got healthy ends: as AWS tells it, and with its log."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from local.emulator.task_ends import End, as_aws_ends, end_of, heard_by_its_service
from local.engine.tasks import NAME_LABEL, TASK_LABEL

ARN = "arn:aws:ecs:us-east-1:000000000000:task/c/t1"


@pytest.mark.parametrize(
    ("said", "code", "end"),
    [
        (
            "the container exited with code 3 before it was healthy: no",
            3,
            End("Essential container in task exited", "EssentialContainerExited", 3),
        ),
        (
            "task failed ELB health checks: GET /health answered 503",
            137,
            End("Task failed ELB health checks", "ServiceSchedulerInitiated", 137),
        ),
        ("no such image", 1, None),
        ("", 0, None),
    ],
)
def test_the_engines_word_is_told_as_aws_would(said: str, code: int, end: End | None) -> None:
    assert end_of({"Error": said, "ExitCode": code}) == end


class Emulator:
    """The parts of the emulator's ECS that are used, keeping what they are given."""

    def __init__(self) -> None:
        cdef = {"name": "inference"}
        self._task_defs = {"td": {"containerDefinitions": [{"name": "sidecar"}, cdef]}}
        self.lines: list[str] = []
        self.stopped: list[tuple[str, str, int | None]] = []
        self.counted: list[Any] = []
        self.looked_at: list[tuple[str, str]] = []

    def _resolve_td_key(self, arn: str) -> str:
        return arn

    def _awslogs_config(self, cdef: Any, task_id: str, _: str) -> dict[str, str]:
        return {"stream": f"task/{cdef['name']}/{task_id}"}

    def _ensure_awslogs_stream(self, _: Any) -> bool:
        return True

    def _emit_awslogs_event(self, config: Any, line: str) -> None:
        self.lines.append(f"{config['stream']} {line}")

    def _mark_task_stopped(self, _: str, __: Any, reason: str, stop_code: str, exit_code: int | None = None) -> bool:
        self.stopped.append((reason, stop_code, exit_code))
        return True

    def _record_service_task_failure(self, task: Any) -> None:
        self.counted.append(task)

    def _cluster_name_from_arn(self, arn: str) -> str:
        return arn.rpartition("/")[2]

    def _reconcile_service_tasks(self, cluster: str, service: str) -> None:
        self.looked_at.append((cluster, service))

    def _cleanup_task_resources(self, *_: Any) -> None:
        """Nothing is left."""


class Container:
    labels = {TASK_LABEL: ARN, NAME_LABEL: "inference"}  # noqa: RUF012
    id = "c1"

    def __init__(self, said: str, code: int) -> None:
        self.attrs = {"State": {"Error": said, "ExitCode": code}}
        self.removed = False

    def logs(self) -> bytes:
        return b"warming up\nTraceback\n"

    def remove(self, *, force: bool) -> None:
        self.removed = force


def ended(said: str, code: int) -> tuple[Emulator, Container, list[str]]:
    emulator, container, failed = Emulator(), Container(said, code), []

    def listed(**asked: Any) -> list[Container]:
        return [container] if asked == {"all": True, "filters": {"label": f"{TASK_LABEL}={ARN}"}} else []

    docker = SimpleNamespace(containers=SimpleNamespace(list=listed))
    fail = as_aws_ends(emulator, lambda _, __, reason: failed.append(reason))
    fail({"taskArn": ARN, "taskDefinitionArn": "td"}, docker, "ResourceInitializationError")
    return emulator, container, failed


def test_a_crash_at_start_keeps_exit_code_and_log() -> None:
    emulator, container, failed = ended("the container exited with code 1 before it was healthy: x", 1)
    assert emulator.stopped == [("Essential container in task exited", "EssentialContainerExited", 1)]
    assert emulator.lines == ["task/inference/t1 warming up", "task/inference/t1 Traceback"]
    assert (emulator.counted, failed, container.removed) == ([], [], True)


def test_a_task_that_never_got_healthy_is_counted_by_the_circuit_breaker() -> None:
    emulator, _, failed = ended("task failed ELB health checks: no answer", 137)
    assert emulator.stopped == [("Task failed ELB health checks", "ServiceSchedulerInitiated", 137)]
    assert (len(emulator.counted), failed) == (1, [])


def test_what_never_ran_fails_to_start_as_before() -> None:
    emulator, _, failed = ended("no such image", 1)
    assert (emulator.stopped, failed) == ([], ["ResourceInitializationError"])


OF_THE_SERVICE = {"clusterArn": "arn:aws:ecs:us-east-1:000000000000:cluster/c", "group": "service:inference"}
OF_NONE = {**OF_THE_SERVICE, "group": "family:probe"}


@pytest.mark.parametrize(("task", "looked_at"), [(OF_THE_SERVICE, [("c", "c/inference")]), (OF_NONE, [])])
def test_a_service_is_looked_at_again_after_an_end_of_its_own_tasks_alone(task: Any, looked_at: Any) -> None:
    emulator = Emulator()
    heard_by_its_service(emulator, emulator._record_service_task_failure)(task)
    assert (emulator.counted, emulator.looked_at) == ([task], looked_at)


class OneThatCannotStart(Emulator):
    """The first look starts a task, which ends on the same thread."""

    def _reconcile_service_tasks(self, cluster: str, service: str) -> None:
        super()._reconcile_service_tasks(cluster, service)
        if len(self.looked_at) == 1:
            self.hear(OF_THE_SERVICE)

    def hear(self, task: Any) -> None:
        raise NotImplementedError


def test_a_task_that_ends_while_its_service_is_looked_at_is_heard_too() -> None:
    emulator: Any = OneThatCannotStart()
    emulator.hear = heard_by_its_service(emulator, emulator._record_service_task_failure)
    emulator.hear(OF_THE_SERVICE)
    assert emulator.looked_at == [("c", "c/inference")] * 2
