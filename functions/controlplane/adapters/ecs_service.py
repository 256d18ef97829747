"""The inference service on ECS Fargate: looked at, rolled, scaled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ..domain.releases import Release
from ..domain.service_view import Deployment, RunningTask, ServiceView
from ..domain.serving import NO_RELEASE, SERVE, STAND_IN
from .dynamo_ledger import log_line

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient

CONTAINER = "inference"  # as template.yaml names it; sidecars are left alone
PORT = 8080
TASKS_AT_ONCE = 100  # DescribeTasks takes no more
SHIFTING = {"CANARY", "LINEAR", "BLUE_GREEN"}
REFUSED = {"AccessDeniedException", "InvalidParameterException", "ClientException"}
OF_A_REVISION_ONLY = {
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
    "deregisteredAt",
}


class EcsService:
    def __init__(
        self,
        ecs: ECSClient,
        *,
        cluster: str,
        service: str,
        repository_uri: str,
        models_uri: str,
        placeholder_image: str,
    ) -> None:
        self._ecs, self._cluster, self._service = ecs, cluster, service
        self._repository_uri, self._models_uri = repository_uri, models_uri
        self._placeholder_image = placeholder_image

    def view(self) -> ServiceView:
        service = self._describe()
        deployments = tuple(
            Deployment(
                deployment_id=told["id"],
                release=self._release_of(told["taskDefinition"]),
                is_primary=told["status"] == "PRIMARY",
                rollout=told.get("rolloutState", ""),
                reason=told.get("rolloutStateReason", ""),
            )
            for told in service["deployments"]
        )
        draining = sum(told["runningCount"] for told in service["deployments"] if told["status"] != "PRIMARY")
        return ServiceView(
            deployments=deployments,
            tasks=tuple(_as_task(task) for task in self._running_tasks(service["taskDefinition"])),
            desired=service["desiredCount"],
            draining=draining,
        )

    def deploy(self, release: Release) -> str:
        service = self._describe()
        current = self._revision(service["taskDefinition"])
        if release_number(current) != release.carried:
            current = self._register(current, release)
            service = self._update(current["taskDefinitionArn"], heard_alarms(service, release.is_new))
        primary = next(told for told in service["deployments"] if told["status"] == "PRIMARY")
        return str(primary["id"])

    def release_of(self, revision: str) -> int | None:
        told = self._ecs.describe_service_revisions(serviceRevisionArns=[revision])["serviceRevisions"][0]
        return self._release_of(told["taskDefinition"])

    def scale_to(self, count: int) -> None:
        self._ecs.update_service(cluster=self._cluster, service=self._service, desiredCount=count)

    def _update(self, revision: str, configured: Any) -> Mapping[str, Any]:
        """That the revision rolls matters more than whether ECS listens to the alarms: we hear them as well."""
        asked: Any = {"cluster": self._cluster, "service": self._service, "taskDefinition": revision}
        try:
            return self._ecs.update_service(**asked, **configured)["service"]
        except ClientError as fault:
            if not configured or fault.response["Error"]["Code"] not in REFUSED:
                raise
            log_line(
                level="WARNING",
                subject=f"alarms of {self._service}",
                now="as before",
                why=f"ECS refused to change whether it listens to them, and is asked to roll without that: {fault}",
            )
        return self._ecs.update_service(**asked)["service"]

    def _register(self, current: Mapping[str, Any], release: Release) -> Mapping[str, Any]:
        """Image, model and release are new; all else is as it runs now."""
        revision = {key: value for key, value in current.items() if key not in OF_A_REVISION_ONLY}
        image = self._placeholder_image if release.is_placeholder else f"{self._repository_uri}@{release.image}"
        command = STAND_IN if release.is_placeholder else SERVE
        told = {
            "MODEL_URI": f"{self._models_uri}{release.model}/" if release.model else "",
            "TIDEGATE_RELEASE": NO_RELEASE if release.is_placeholder else str(release.number),
            "TIDEGATE_IMAGE": image,
        }
        containers = []
        for container in revision["containerDefinitions"]:
            if container["name"] != CONTAINER:
                containers.append(container)
                continue
            kept = [pair for pair in container.get("environment", []) if pair["name"] not in told]
            environment = [*kept, *({"name": name, "value": value} for name, value in told.items())]
            containers.append({**container, "image": image, "command": list(command), "environment": environment})
        return self._ecs.register_task_definition(**{**revision, "containerDefinitions": containers})["taskDefinition"]

    def _describe(self) -> Mapping[str, Any]:
        return self._ecs.describe_services(cluster=self._cluster, services=[self._service])["services"][0]

    def _revision(self, arn: str) -> Mapping[str, Any]:
        return self._ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]

    def _release_of(self, arn: str) -> int | None:
        return release_number(self._revision(arn))

    def _running_tasks(self, revision: str) -> Iterable[Mapping[str, Any]]:
        """Those of the service's own revision; older ones may still be draining."""
        for task in ask_about(self._ecs, self._cluster, self._service, "RUNNING"):
            if task["lastStatus"] == "RUNNING" and task["taskDefinitionArn"] == revision:
                yield task


def heard_alarms(service: Mapping[str, Any], heard: bool) -> Any:
    """What makes ECS listen to the service's alarms, or not, from this deployment on. One that was told to listen and
    goes back to what served before could be turned round by an alarm, to what was just left. Nothing is said to a
    service that rolls: it may keep alarms and hooks of an earlier strategy.

    The configuration is given as DescribeServices told it. AWS documents that all of `alarms` is required; what
    UpdateService does with other members that are left out it does not say, and it was not tried on AWS.
    docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-alarm-failure.html
    """
    configuration = service.get("deploymentConfiguration", {})
    alarms = configuration.get("alarms", {})
    if configuration.get("strategy") not in SHIFTING or not alarms.get("alarmNames") or alarms["enable"] is heard:
        return {}
    return {"deploymentConfiguration": {**configuration, "alarms": {**alarms, "enable": heard}}}


def ask_about(ecs: ECSClient, cluster: str, service: str, status: Any) -> list[Mapping[str, Any]]:
    """The service's tasks that are to be RUNNING, or STOPPED."""
    pages = ecs.get_paginator("list_tasks").paginate(cluster=cluster, serviceName=service, desiredStatus=status)
    arns = [arn for page in pages for arn in page["taskArns"]]
    found: list[Mapping[str, Any]] = []
    for start in range(0, len(arns), TASKS_AT_ONCE):
        found += ecs.describe_tasks(cluster=cluster, tasks=arns[start : start + TASKS_AT_ONCE])["tasks"]
    return found


def _as_task(task: Mapping[str, Any]) -> RunningTask:
    [digest] = [one.get("imageDigest", "") for one in task["containers"] if one["name"] == CONTAINER] or [""]
    told = (detail for attached in task.get("attachments", []) for detail in attached.get("details", []))
    address = next((detail["value"] for detail in told if detail["name"] == "privateIPv4Address"), "")
    return RunningTask(task["taskArn"].rpartition("/")[2], f"{address}:{PORT}" if address else "", digest)


def release_number(revision: Mapping[str, Any]) -> int | None:
    """The release that a task definition carries; None for the placeholder."""
    for container in revision["containerDefinitions"]:
        for pair in container.get("environment", []):
            if pair["name"] == "TIDEGATE_RELEASE" and pair["value"].isdigit():
                return int(pair["value"])
    return None
