"""What changed in the emulator since the last look, as the events that AWS would have sent of it.

Each source is a function that looks once. Promise: every change that is still visible at a look gives its events once,
in AWS's documented shape, with the steps in between that AWS would have shown (pending before running). So a look asks
all that it asks before it notes what it saw: one that fails half-way has seen nothing, and the next sees it all.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local import scans
from local.aws import Aws
from local.scans import SCAN_SECONDS, Scanned

Event = dict[str, Any]
Source = Callable[[], list[Event]]

ACCOUNT = "000000000000"

UNCHECKED = {"value": "INSUFFICIENT_DATA", "reason": "Unchecked: Initial alarm creation"}
STEPS = {
    "running": ["pending", "running"],
    "terminated": ["shutting-down", "terminated"],
    "stopped": ["stopping", "stopped"],
}


def event(source: str, detail_type: str, region: str, detail: Mapping[str, Any], resources: list[str]) -> Event:
    """The envelope that all events of AWS share."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": ACCOUNT,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": resources,
        "detail": dict(detail),
    }


def of_machine(region: str, instance_id: str, detail_type: str, more: Mapping[str, str]) -> Event:
    arn = f"arn:aws:ec2:{region}:{ACCOUNT}:instance/{instance_id}"
    return event("aws.ec2", detail_type, region, {"instance-id": instance_id, **more}, [arn])


def machine_state(region: str, instance_id: str, state: str) -> Event:
    return of_machine(region, instance_id, "EC2 Instance State-change Notification", {"state": state})


def spot_warning(region: str, instance_id: str) -> Event:
    return of_machine(region, instance_id, "EC2 Spot Instance Interruption Warning", {"instance-action": "terminate"})


def rebalance(region: str, instance_id: str) -> Event:
    return of_machine(region, instance_id, "EC2 Instance Rebalance Recommendation", {})


def image_action(
    region: str, repository: str, digest: str, tag: str, media_types: tuple[str, str], action: str = "PUSH"
) -> Event:
    """The media types of manifest and artifact; an index has only the first."""
    manifest, artifact = media_types
    detail = {
        "result": "SUCCESS", "repository-name": repository, "image-digest": digest, "action-type": action,
        "image-tag": tag, "manifest-media-type": manifest, **({"artifact-media-type": artifact} if artifact else {}),
    }  # fmt: skip
    return event("aws.ecr", "ECR Image Action", region, detail, [])


def image_scan(region: str, repository: str, arn: str, digest: str, tags: list[str], scan: Scanned) -> Event:
    complete = scan.status == "COMPLETE"
    detail = {
        "scan-status": "COMPLETE" if complete else "FAILED", "repository-name": repository, "image-digest": digest,
        "image-tags": tags, **({"finding-severity-counts": scan.counts} if complete else {}),
    }  # fmt: skip
    return event("aws.ecr", "ECR Image Scan", region, detail, [arn])


def deployment_state(region: str, service_arn: str, deployment: Mapping[str, Any], step: str) -> Event:
    """A rollback is the older deployment in progress again; only the reason says so."""
    key = deployment["id"]
    name, reason = {
        "IN_PROGRESS": ("IN_PROGRESS", f"ECS deployment {key} in progress."),
        "ROLLBACK": ("IN_PROGRESS", f"ECS deployment circuit breaker: rolling back to deploymentId {key}."),
        "COMPLETED": ("COMPLETED", f"ECS deployment {key} completed."),
        "FAILED": ("FAILED", "ECS deployment circuit breaker: tasks failed to start."),
    }[step]
    detail = {
        "eventType": "ERROR" if name == "FAILED" else "INFO",
        "eventName": f"SERVICE_DEPLOYMENT_{name}",
        "deploymentId": key,
        "updatedAt": deployment["updatedAt"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "reason": reason,
    }
    return event("aws.ecs", "ECS Deployment State Change", region, detail, [service_arn])


def task_state(region: str, task: Mapping[str, Any]) -> Event:
    """The task as DescribeTasks tells it; times are ISO strings.

    docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html
    """
    detail = json.loads(json.dumps(dict(task), default=in_iso))
    return event("aws.ecs", "ECS Task State Change", region, detail, [task["taskArn"]])


def in_iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def alarm_state(region: str, alarm: Mapping[str, Any], previous: Mapping[str, Any]) -> Event:
    detail = {
        "alarmName": alarm["AlarmName"],
        "state": alarm_view(alarm),
        "previousState": dict(previous),
        "configuration": alarm_configuration(alarm),
    }
    return event("aws.cloudwatch", "CloudWatch Alarm State Change", region, detail, [alarm["AlarmArn"]])


def alarm_view(alarm: Mapping[str, Any]) -> dict[str, Any]:
    at: datetime = alarm["StateUpdatedTimestamp"].astimezone(UTC)
    view = {
        "value": alarm["StateValue"],
        "reason": alarm.get("StateReason", ""),
        "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}+0000",
    }
    return {**view, "reasonData": alarm["StateReasonData"]} if alarm.get("StateReasonData") else view


def alarm_configuration(alarm: Mapping[str, Any]) -> dict[str, Any]:
    described = {"description": alarm["AlarmDescription"]} if alarm.get("AlarmDescription") else {}
    if "AlarmRule" in alarm:
        return {"alarmRule": alarm["AlarmRule"], **described}
    if alarm.get("Metrics"):
        return {"metrics": [metric_of_math(metric) for metric in alarm["Metrics"]], **described}
    stat = metric_stat(alarm, alarm["Period"], alarm.get("Statistic") or alarm.get("ExtendedStatistic", ""))
    key = uuid.uuid5(uuid.NAMESPACE_URL, alarm["AlarmArn"])
    return {"metrics": [{"id": str(key), "metricStat": stat, "returnData": True}], **described}


def metric_of_math(metric: Mapping[str, Any]) -> dict[str, Any]:
    view: dict[str, Any] = {"id": metric["Id"], "returnData": metric.get("ReturnData", True)}
    if metric.get("Label"):
        view["label"] = metric["Label"]
    if metric.get("Expression"):
        view["expression"] = metric["Expression"]
    if metric.get("MetricStat"):
        stat = metric["MetricStat"]
        view["metricStat"] = metric_stat(stat["Metric"], stat["Period"], stat["Stat"])
    return view


def metric_stat(metric: Mapping[str, Any], period: int, stat: str) -> dict[str, Any]:
    dimensions = {pair["Name"]: pair["Value"] for pair in metric.get("Dimensions", [])}
    named = {"dimensions": dimensions, "name": metric["MetricName"], "namespace": metric["Namespace"]}
    return {"metric": named, "period": period, "stat": stat}


def sources(aws: Aws, state: Path, clock: Callable[[], float] = time.monotonic) -> list[Source]:
    return [
        machines(aws),
        images(aws, clock, lambda: scans.read(state)),
        deployments(aws),
        stopped_tasks(aws),
        alarms(aws),
    ]


def machines(aws: Aws) -> Source:
    known: dict[str, str] = {}

    def look() -> list[Event]:
        found: list[Event] = []
        pages = list(aws.client("ec2").get_paginator("describe_instances").paginate())
        for instance in (i for page in pages for reservation in page["Reservations"] for i in reservation["Instances"]):
            instance_id, state = instance["InstanceId"], instance["State"]["Name"]
            before = known.get(instance_id)
            known[instance_id] = state
            if state == before:
                continue
            steps = STEPS.get(state, [state])
            if before is None and state != "running":
                steps = [*STEPS["running"], *steps]
            found += [machine_state(aws.region, instance_id, step) for step in steps]
        return found

    return look


def images(aws: Aws, clock: Callable[[], float], scanned: Callable[[], Sequence[Scanned]] = list) -> Source:
    known: dict[tuple[str, str], set[str]] = {}  # (repository, digest) -> tags
    media: dict[tuple[str, str], tuple[str, str]] = {}  # of the manifest, of the artifact
    to_scan: dict[tuple[str, str], tuple[float, str]] = {}

    def look() -> list[Event]:
        ecr, found, seen = aws.client("ecr"), [], set()
        verdicts, repositories = scanned(), ecr.describe_repositories()["repositories"]
        for repository, described in [(one, images_of(ecr, one)) for one in repositories]:
            name = repository["repositoryName"]
            for image in sorted(described, key=lambda image: image["imagePushedAt"]):
                key, tags = (name, image["imageDigest"]), set(image.get("imageTags", []))
                seen.add(key)
                manifest = image.get("imageManifestMediaType", "application/vnd.docker.distribution.manifest.v2+json")
                media[key] = (manifest, image.get("artifactMediaType", ""))
                new = sorted(tags - known.get(key, set())) or ([] if key in known else [""])
                found += [image_action(aws.region, name, key[1], tag, media[key]) for tag in new]
                if key not in known and scans.is_scanned(repository, manifest):
                    to_scan[key] = (clock() + SCAN_SECONDS, repository["repositoryArn"])
                known[key] = tags
        for gone in set(known) - seen:
            tags_or_none = sorted(known.pop(gone)) or [""]
            found += [image_action(aws.region, *gone, tag, media[gone], "DELETE") for tag in tags_or_none]
            to_scan.pop(gone, None)
        for key in [key for key, (due, _) in to_scan.items() if due <= clock()]:
            _, arn = to_scan.pop(key)
            scan = scans.scan_of(verdicts, key[1], sorted(known[key]))
            if scan.status != "IN_PROGRESS":
                found.append(image_scan(aws.region, key[0], arn, key[1], sorted(known[key]), scan))
        return found

    return look


def images_of(ecr: Any, repository: Mapping[str, Any]) -> list[Any]:
    pages = ecr.get_paginator("describe_images").paginate(repositoryName=repository["repositoryName"])
    return [image for page in pages for image in page["imageDetails"]]


def deployments(aws: Aws) -> Source:
    known: dict[str, str] = {}  # deployment id -> the last state told

    def look() -> list[Event]:
        found: list[Event] = []
        for service in services_of(aws.client("ecs")):
            for deployment in sorted(service["deployments"], key=failed_first):
                others = any(d["runningCount"] for d in service["deployments"] if d is not deployment)
                found += changes(service["serviceArn"], deployment, draining=others)
        return found

    def changes(arn: str, deployment: Mapping[str, Any], *, draining: bool) -> list[Event]:
        """AWS says COMPLETED in the steady state: when the tasks of the deployment before have stopped too."""
        key, state = deployment["id"], deployment.get("rolloutState", "COMPLETED")
        before = known.get(key)
        if state == "COMPLETED" != before and draining:
            state = "IN_PROGRESS"
        known[key] = state
        found: list[str] = []
        if before is None:
            found.append("IN_PROGRESS")
        elif state == "IN_PROGRESS" != before:
            found.append("ROLLBACK")
        if state in ("COMPLETED", "FAILED") and state != before:
            found.append(state)
        return [deployment_state(aws.region, arn, deployment, step) for step in found]

    return look


def services_of(ecs: Any) -> list[Any]:
    described: list[Any] = []
    for cluster in ecs.list_clusters()["clusterArns"]:
        for page in ecs.get_paginator("list_services").paginate(cluster=cluster):
            if names := page["serviceArns"]:  # at most ten a page, as many as one description takes
                described += ecs.describe_services(cluster=cluster, services=names)["services"]
    return described


def failed_first(deployment: Mapping[str, Any]) -> tuple[bool, datetime]:
    """AWS tells of the failure, then of the rollback that follows from it."""
    return deployment.get("rolloutState") != "FAILED", deployment["createdAt"]


def stopped_tasks(aws: Aws) -> Source:
    """Of a task's changes its end, which is what anybody here asks for."""
    known: set[str] = set()

    def look() -> list[Event]:
        ecs, stopped = aws.client("ecs"), []
        for cluster in ecs.list_clusters()["clusterArns"]:
            pages = ecs.get_paginator("list_tasks").paginate(cluster=cluster, desiredStatus="STOPPED")
            for new in ([arn for arn in page["taskArns"] if arn not in known] for page in pages):
                told = ecs.describe_tasks(cluster=cluster, tasks=new)["tasks"] if new else []
                stopped += [task for task in told if task["lastStatus"] == "STOPPED"]
        known.update(task["taskArn"] for task in stopped)
        return [task_state(aws.region, task) for task in stopped]

    return look


def alarms(aws: Aws) -> Source:
    known: dict[str, dict[str, Any]] = {}

    def look() -> list[Event]:
        found: list[Event] = []
        both = ["MetricAlarm", "CompositeAlarm"]
        pages = list(aws.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmTypes=both))
        for page in pages:
            for alarm in [*page.get("MetricAlarms", []), *page.get("CompositeAlarms", [])]:
                view = alarm_view(alarm)
                before = known.get(alarm["AlarmArn"], {**UNCHECKED, "timestamp": view["timestamp"]})
                known[alarm["AlarmArn"]] = view
                if view["value"] != before["value"]:
                    found.append(alarm_state(aws.region, alarm, before))
        return found

    return look
