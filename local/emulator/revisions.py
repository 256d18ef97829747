"""Revisions of ECS services, of which the emulator knows none: what it was that each deployment brought.

Every deployment has one, named by a number that comes of the deployment's id; it can be described also when the
deployment is long gone, until the emulator ends. ListServiceDeployments tells which deployment has which; it tells no
status, which DescribeServices does.
docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServiceRevisions.html, …API_ListServiceDeployments.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

Told = Mapping[str, Any]
Answer = tuple[int, dict[str, str], bytes]


class Revisions:
    def __init__(self, ecs: Any, answer: Callable[[Told], Answer], refuse: Callable[[str, str, int], Answer]) -> None:
        """`ecs` is the emulator's module; it answers and refuses in JSON."""
        self._ecs, self._answer, self._refuse = ecs, answer, refuse
        self._known: dict[str, Told] = {}

    def take_over(self) -> None:
        self._ecs._reconcile_service_tasks = self.remembering(self._ecs._reconcile_service_tasks)
        self._ecs._ACTION_MAP["DescribeServiceRevisions"] = self.describe
        self._ecs._ACTION_MAP["ListServiceDeployments"] = self.deployments

    def remembering(self, reconcile: Callable[[str, str], None]) -> Callable[[str, str], None]:
        """The emulator comes here whenever a service has a new deployment."""

        def wrapped(cluster: str, key: str) -> None:
            if service := self._ecs._services.get(key):
                self._remember(service)
            reconcile(cluster, key)

        return wrapped

    def describe(self, asked: Told) -> Answer:
        wanted: list[str] = asked.get("serviceRevisionArns", [])
        found = [self._known[arn] for arn in wanted if arn in self._known]
        missing = [{"arn": arn, "reason": "MISSING"} for arn in wanted if arn not in self._known]
        return self._answer({"serviceRevisions": found, "failures": missing})

    def deployments(self, asked: Told) -> Answer:
        """The newest first, as AWS lists them."""
        name = str(asked.get("service", "")).rpartition("/")[2]
        cluster = self._ecs._resolve_cluster_name(asked.get("cluster", "default"))
        service = self._ecs._services.get(f"{cluster}/{name}")
        if not service:
            return self._refuse("ServiceNotFoundException", "Service not found.", 400)
        told = [
            {
                "serviceDeploymentArn": arn_of("service-deployment", service, deployment["id"]),
                "serviceArn": service["serviceArn"],
                "clusterArn": service["clusterArn"],
                "createdAt": deployment["createdAt"],
                "targetServiceRevisionArn": arn_of("service-revision", service, deployment["id"]),
            }
            for deployment in service["deployments"]
        ]
        return self._answer({"serviceDeployments": told})

    def _remember(self, service: Told) -> None:
        for deployment in service["deployments"]:
            arn = arn_of("service-revision", service, deployment["id"])
            self._known.setdefault(
                arn,
                {
                    "serviceRevisionArn": arn,
                    "serviceArn": service["serviceArn"],
                    "clusterArn": service["clusterArn"],
                    "taskDefinition": deployment["taskDefinition"],
                    "createdAt": deployment["createdAt"],
                },
            )


def arn_of(kind: str, service: Told, deployment: str) -> str:
    """…:service-revision/<cluster>/<service>/<number>, and the like."""
    head, _, name = str(service["serviceArn"]).partition(":service/")
    number = int(hashlib.sha256(deployment.encode()).hexdigest()[:15], 16)
    return f"{head}:{kind}/{name}/{number:019d}"
