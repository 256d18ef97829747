"""How a task that never got healthy ends: as AWS tells it, and with its log."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from local.emulator.task_ends import End, as_aws_ends, end_of
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
