"""What ECS knows of a container's task: its role, and how its load balancer will check its health.

The container's labels name the task. The task names its definition (role) and its service (target group). On AWS a
task that never gets healthy in its target group is killed and counted; the emulator counts only what the engine
reports, so the stand-in needs to know what healthy means, and takes it from where AWS takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import boto3
from mypy_boto3_ecs.type_defs import TaskTypeDef

from local.engine.health import Check, statuses

TASK_LABEL = "com.amazonaws.ecs.task-arn"
CLUSTER_LABEL = "com.amazonaws.ecs.cluster"
NAME_LABEL = "com.amazonaws.ecs.container-name"


class NoSuchTask(Exception):
    """The labels name a task that ECS does not know."""


@dataclass(frozen=True)
class Task:
    role: str | None = None
    check: Check | None = None


class Tasks:
    """Answers from the emulator's ECS and load balancer, as they are at the moment of the question."""

    def __init__(self, endpoint: str, region: str) -> None:
        self._ecs = boto3.client("ecs", endpoint_url=endpoint, region_name=region)
        self._elb = boto3.client("elbv2", endpoint_url=endpoint, region_name=region)

    def of(self, labels: Mapping[str, str]) -> Task | None:
        """The task of these labels; None for a container that belongs to no task."""
        arn, cluster = labels.get(TASK_LABEL), labels.get(CLUSTER_LABEL, "default")
        if arn is None:
            return None
        found = self._ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"]
        if not found:
            raise NoSuchTask(f"ECS does not know the task {arn}.")
        return Task(self._role(found[0]), self._check(found[0], cluster, labels.get(NAME_LABEL)))

    def _role(self, task: TaskTypeDef) -> str | None:
        override = task.get("overrides", {}).get("taskRoleArn")
        if override:
            return override
        definition = self._ecs.describe_task_definition(taskDefinition=task["taskDefinitionArn"])["taskDefinition"]
        return definition.get("taskRoleArn") or None

    def _check(self, task: TaskTypeDef, cluster: str, container: str | None) -> Check | None:
        kind, _, name = task.get("group", "").partition(":")
        if kind != "service":
            return None
        for service in self._ecs.describe_services(cluster=cluster, services=[name])["services"]:
            for balanced in service.get("loadBalancers", []):
                if balanced.get("containerName") in (None, container) and "targetGroupArn" in balanced:
                    return self._target_group_check(balanced["targetGroupArn"], balanced["containerPort"])
        return None

    def _target_group_check(self, arn: str, container_port: int) -> Check | None:
        group = self._elb.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"][0]
        port = group.get("HealthCheckPort", "traffic-port")
        return Check(
            port=container_port if port == "traffic-port" else int(port),
            path=group.get("HealthCheckPath", "/"),
            statuses=statuses(group.get("Matcher", {}).get("HttpCode", "200")),
        )
