from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local import scans, sources
from local.aws import Aws
from local.engine.registry import OCI_MANIFEST

AT = datetime(2019, 10, 2, 17, 4, 40, 989000, tzinfo=UTC)
ENVELOPE = {"version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"}
METRIC: dict[str, Any] = {
    "AlarmName": "slow", "AlarmArn": "arn:aws:cloudwatch:us-east-1:000000000000:alarm:slow", "StateValue": "ALARM",
    "StateReason": "over", "StateReasonData": '{"threshold": 50}', "StateUpdatedTimestamp": AT,
    "AlarmDescription": "It is slow.", "MetricName": "Latency", "Namespace": "Small", "Period": 60,
    "Statistic": "Average", "Dimensions": [{"Name": "Service", "Value": "small"}],
}  # fmt: skip
PREVIOUS = {"value": "OK", "reason": "under", "timestamp": "2019-10-01T13:56:40.987+0000"}
DEPLOYMENT: dict[str, Any] = {"id": "ecs-svc/1", "updatedAt": AT}


def test_all_events_share_the_envelope() -> None:
    for event in (
        sources.machine_state("us-east-1", "i-1", "running"),
        sources.image_action("us-east-1", "r", "sha256:1", "v1", ("m", "")),
        sources.alarm_state("us-east-1", METRIC, PREVIOUS),
    ):
        assert set(event) == ENVELOPE
        datetime.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ")


def test_a_machine_event_names_the_machine() -> None:
    event = sources.spot_warning("us-east-1", "i-1")
    assert (event["source"], event["detail-type"]) == ("aws.ec2", "EC2 Spot Instance Interruption Warning")
    assert event["resources"] == ["arn:aws:ec2:us-east-1:000000000000:instance/i-1"]
    assert event["detail"] == {"instance-id": "i-1", "instance-action": "terminate"}
    assert sources.rebalance("us-east-1", "i-1")["detail"] == {"instance-id": "i-1"}


def test_an_alarm_event_has_the_documented_shape() -> None:
    assert sources.alarm_state("us-east-1", METRIC, PREVIOUS)["detail"] == {
        "alarmName": "slow",
        "state": {
            "value": "ALARM",
            "reason": "over",
            "reasonData": '{"threshold": 50}',
            "timestamp": "2019-10-02T17:04:40.989+0000",
        },
        "previousState": PREVIOUS,
        "configuration": {
            "description": "It is slow.",
            "metrics": [
                {
                    "id": str(uuid.uuid5(uuid.NAMESPACE_URL, METRIC["AlarmArn"])),
                    "metricStat": {
                        "metric": {"dimensions": {"Service": "small"}, "name": "Latency", "namespace": "Small"},
                        "period": 60,
                        "stat": "Average",
                    },
                    "returnData": True,
                }
            ],
        },
    }


def test_an_alarm_on_metric_math_has_an_expression_and_no_stat() -> None:
    metric = {"Namespace": "Small", "MetricName": "Errors", "Dimensions": []}
    math = [
        {"Id": "share", "Expression": "100 * errors", "Label": "share", "ReturnData": True},
        {"Id": "errors", "MetricStat": {"Stat": "Sum", "Period": 60, "Metric": metric}, "ReturnData": False},
    ]
    plain = {
        k: v for k, v in METRIC.items() if k not in ("MetricName", "Namespace", "Period", "Statistic", "Dimensions")
    }
    configuration = sources.alarm_state("us-east-1", {**plain, "Metrics": math}, PREVIOUS)["detail"]["configuration"]
    assert configuration["metrics"][0] == {
        "id": "share", "expression": "100 * errors", "label": "share", "returnData": True,
    }  # fmt: skip
    assert "expression" not in configuration["metrics"][1]


def test_a_composite_alarm_has_a_rule_and_no_metrics() -> None:
    composite = {k: METRIC[k] for k in ("AlarmName", "AlarmArn", "StateValue", "StateReason", "StateUpdatedTimestamp")}
    event = sources.alarm_state("us-east-1", {**composite, "AlarmRule": "ALARM(slow)"}, PREVIOUS)
    assert event["detail"]["configuration"] == {"alarmRule": "ALARM(slow)"}


@pytest.mark.parametrize(
    ("step", "name", "kind", "reason"),
    [
        ("IN_PROGRESS", "SERVICE_DEPLOYMENT_IN_PROGRESS", "INFO", "in progress"),
        ("ROLLBACK", "SERVICE_DEPLOYMENT_IN_PROGRESS", "INFO", "rolling back to deploymentId ecs-svc/1"),
        ("COMPLETED", "SERVICE_DEPLOYMENT_COMPLETED", "INFO", "completed"),
        ("FAILED", "SERVICE_DEPLOYMENT_FAILED", "ERROR", "circuit breaker"),
    ],
)
def test_a_deployment_event_names_the_service_only_in_its_resources(
    step: str, name: str, kind: str, reason: str
) -> None:
    event = sources.deployment_state("us-east-1", "arn:service", DEPLOYMENT, step)
    assert event["resources"] == ["arn:service"]
    assert (event["detail"]["eventName"], event["detail"]["eventType"]) == (name, kind)
    assert (event["detail"]["deploymentId"], event["detail"]["updatedAt"]) == ("ecs-svc/1", "2019-10-02T17:04:40Z")
    assert reason in event["detail"]["reason"]


def states(events: list[sources.Event], key: str) -> list[str]:
    return [event["detail"]["state"] for event in events if event["detail"]["instance-id"] == key]


def test_a_machine_is_seen_with_the_steps_that_aws_shows(aws: Aws) -> None:
    ec2, look = aws.client("ec2"), sources.machines(aws)
    key = ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    assert states(look(), key) == ["pending", "running"]
    assert states(look(), key) == []
    ec2.terminate_instances(InstanceIds=[key])
    assert states(look(), key) == ["shutting-down", "terminated"]


def test_a_machine_that_came_and_went_between_two_looks_is_told_in_full(aws: Aws) -> None:
    ec2, look = aws.client("ec2"), sources.machines(aws)
    key = ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    ec2.terminate_instances(InstanceIds=[key])
    assert states(look(), key) == ["pending", "running", "shutting-down", "terminated"]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def manifest(text: str) -> str:
    return '{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "note": "' + text + '"}'


def told(events: list[sources.Event], repository: str) -> list[tuple[str, str]]:
    """(what, tag) of one repository's events."""
    mine = [event["detail"] for event in events if event["detail"]["repository-name"] == repository]
    return [(d.get("action-type", "SCAN"), d["image-tag"] if "image-tag" in d else str(d["image-tags"])) for d in mine]


def test_a_push_is_told_once_a_tag_and_scanned_where_the_repository_scans(aws: Aws) -> None:
    ecr, clock, name = aws.client("ecr"), Clock(), f"r-{uuid.uuid4().hex[:8]}"
    look = sources.images(aws, clock)
    ecr.create_repository(repositoryName=name, imageScanningConfiguration={"scanOnPush": True})
    ecr.put_image(repositoryName=name, imageManifest=manifest("a"), imageTag="v1")
    assert told(look(), name) == [("PUSH", "v1")]
    assert told(look(), name) == []
    clock.now = scans.SCAN_SECONDS
    scan = [e for e in look() if e["detail-type"] == "ECR Image Scan" and e["detail"]["repository-name"] == name]
    assert [event["detail"]["finding-severity-counts"] for event in scan] == [{}]
    assert told(scan, name) == [("SCAN", "['v1']")]
    assert told(look(), name) == []


def test_a_second_tag_of_the_same_image_is_a_push_of_its_own(aws: Aws) -> None:
    ecr, name = aws.client("ecr"), f"r-{uuid.uuid4().hex[:8]}"
    look = sources.images(aws, Clock())
    ecr.create_repository(repositoryName=name)
    ecr.put_image(repositoryName=name, imageManifest=manifest("a"), imageTag="v1")
    look()
    ecr.put_image(repositoryName=name, imageManifest=manifest("a"), imageTag="latest")
    assert told(look(), name) == [("PUSH", "latest")]


def test_an_untagged_push_has_an_empty_tag_and_a_deleted_image_is_told(aws: Aws) -> None:
    ecr, name = aws.client("ecr"), f"r-{uuid.uuid4().hex[:8]}"
    look = sources.images(aws, Clock())
    ecr.create_repository(repositoryName=name)
    image = ecr.put_image(repositoryName=name, imageManifest=manifest("b"))["image"]["imageId"]["imageDigest"]
    assert told(look(), name) == [("PUSH", "")]
    ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": image}])
    assert told(look(), name) == [("DELETE", "")]


INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


def test_a_multi_arch_push_is_told_as_an_index_with_the_tag_and_children_without_and_only_those_are_scanned(
    aws: Aws, emulator_state: Path
) -> None:
    ecr, clock, name = aws.client("ecr"), Clock(), f"r-{uuid.uuid4().hex[:8]}"
    look = sources.images(aws, clock, lambda: scans.read(emulator_state))
    ecr.create_repository(repositoryName=name, imageScanningConfiguration={"scanOnPush": True})
    image = json.dumps({"config": {"mediaType": CONFIG}, "of": name})
    child = ecr.put_image(repositoryName=name, imageManifest=image, imageManifestMediaType=OCI_MANIFEST)["image"]
    digest = child["imageId"]["imageDigest"]
    index = json.dumps({"manifests": [{"digest": digest}]})
    ecr.put_image(repositoryName=name, imageManifest=index, imageManifestMediaType=INDEX, imageTag="v1")
    mine = [event["detail"] for event in look() if event["detail"]["repository-name"] == name]
    assert sorted(
        (told["image-tag"], told["manifest-media-type"], told.get("artifact-media-type")) for told in mine
    ) == [("", OCI_MANIFEST, CONFIG), ("v1", INDEX, None)]
    scans.write(emulator_state, [scans.Scanned(digest, (scans.Finding("CVE-1", "HIGH", "zlib"),))])
    clock.now = scans.SCAN_SECONDS
    try:
        [scan] = [event["detail"] for event in look() if event["detail"]["repository-name"] == name]
    finally:
        scans.write(emulator_state, [])
    assert (scan["image-digest"], scan["finding-severity-counts"]) == (digest, {"HIGH": 1})


@pytest.mark.parametrize(
    ("status", "told_of"), [("FAILED", ["FAILED"]), ("UNSUPPORTED_IMAGE", ["FAILED"]), ("IN_PROGRESS", [])]
)
def test_a_scan_may_fail_or_never_end(aws: Aws, status: str, told_of: list[str]) -> None:
    ecr, clock, name = aws.client("ecr"), Clock(), f"r-{uuid.uuid4().hex[:8]}"
    look = sources.images(aws, clock, lambda: [scans.Scanned("v*", status=status)])
    ecr.create_repository(repositoryName=name, imageScanningConfiguration={"scanOnPush": True})
    ecr.put_image(repositoryName=name, imageManifest=manifest("a"), imageTag="v1")
    look()
    clock.now = scans.SCAN_SECONDS
    mine = [event["detail"] for event in look() if event["detail"]["repository-name"] == name]
    assert [told["scan-status"] for told in mine] == told_of
    assert all("finding-severity-counts" not in told for told in mine)


def test_an_alarm_is_told_when_its_state_changes_with_the_state_before(aws: Aws) -> None:
    cloudwatch, name = aws.client("cloudwatch"), f"a-{uuid.uuid4().hex[:8]}"
    look = sources.alarms(aws)
    cloudwatch.put_metric_alarm(
        AlarmName=name, Namespace="Small", MetricName=name, Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip

    def changes() -> list[tuple[str, str]]:
        mine = [event["detail"] for event in look() if event["detail"]["alarmName"] == name]
        return [(detail["previousState"]["value"], detail["state"]["value"]) for detail in mine]

    assert changes() == []
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="tried")
    assert changes() == [("INSUFFICIENT_DATA", "ALARM")]
    assert changes() == []
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="tried")
    assert changes() == [("ALARM", "OK")]


def test_the_end_of_a_task_is_told_once_as_ecs_describes_it() -> None:
    class Tasks:
        stopped: list[dict[str, Any]] = []

        def list_clusters(self) -> dict[str, list[str]]:
            return {"clusterArns": ["c"]}

        def get_paginator(self, name: str) -> Tasks:
            assert name == "list_tasks"
            return self

        def paginate(self, **asked: str) -> list[dict[str, list[str]]]:
            assert asked == {"cluster": "c", "desiredStatus": "STOPPED"}
            return [{"taskArns": [task["taskArn"] for task in self.stopped]}]

        def describe_tasks(self, cluster: str, tasks: list[str]) -> dict[str, Any]:
            return {"tasks": [task for task in self.stopped if task["taskArn"] in tasks and cluster]}

    class OnlyTasks(Aws):
        def client(self, service: str) -> Any:
            assert service == "ecs"
            return tasks

    tasks = Tasks()
    look = sources.stopped_tasks(OnlyTasks("http://none", "us-east-1"))
    assert look() == []
    tasks.stopped = [{"taskArn": "arn:t1", "lastStatus": "DEPROVISIONING"}]
    assert look() == [], "it is on its way"
    tasks.stopped = [
        {"taskArn": "arn:t1", "lastStatus": "STOPPED", "stopCode": "EssentialContainerExited", "stoppedAt": AT}
    ]
    [told] = look()
    assert (told["source"], told["detail-type"]) == ("aws.ecs", "ECS Task State Change")
    assert told["resources"] == ["arn:t1"]
    assert told["detail"] == {**tasks.stopped[0], "stoppedAt": "2019-10-02T17:04:40.989Z"}
    assert look() == []


class Ecs:
    """Answers as the emulator's ECS does, with the deployments that a test sets."""

    def __init__(self) -> None:
        self.deployments: list[dict[str, Any]] = []
        self.clusters, self.busy = ["c"], ""

    def list_clusters(self) -> dict[str, list[str]]:
        return {"clusterArns": self.clusters}

    def get_paginator(self, _: str) -> Ecs:
        return self

    def paginate(self, cluster: str) -> list[dict[str, list[str]]]:
        return [{"serviceArns": [f"arn:{cluster}/s"]}]

    def describe_services(self, cluster: str, services: list[str]) -> dict[str, Any]:
        if cluster == self.busy:
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "DescribeServices")
        return {"services": [{"serviceArn": arn, "deployments": self.deployments} for arn in services if cluster]}


class EcsOnly(Aws):
    def client(self, service: str) -> Any:
        assert service == "ecs"
        return self.__dict__.setdefault("ecs", Ecs())


def test_a_failed_rollout_is_told_then_the_rollback_then_its_end() -> None:
    aws = EcsOnly("http://none", "us-east-1")
    ecs, look = aws.client("ecs"), sources.deployments(aws)

    def after(*deployments: tuple[str, str], draining: str = "") -> list[tuple[str, str]]:
        ecs.deployments = [
            {
                "id": key,
                "rolloutState": state,
                "createdAt": AT.replace(minute=int(key)),
                "updatedAt": AT,
                "runningCount": int(key == draining),
            }
            for key, state in deployments
        ]
        details = [event["detail"] for event in look()]
        return [(d["deploymentId"], d["eventName"].removeprefix("SERVICE_DEPLOYMENT_")) for d in details]

    assert after(("1", "COMPLETED")) == [("1", "IN_PROGRESS"), ("1", "COMPLETED")]
    assert after(("1", "COMPLETED"), ("2", "IN_PROGRESS")) == [("2", "IN_PROGRESS")]
    assert after(("1", "IN_PROGRESS"), ("2", "FAILED")) == [("2", "FAILED"), ("1", "IN_PROGRESS")]
    assert after(("1", "COMPLETED"), ("2", "FAILED"), draining="2") == []
    assert after(("1", "COMPLETED"), ("2", "FAILED")) == [("1", "COMPLETED")]
    assert after(("1", "COMPLETED"), ("2", "FAILED")) == []


def test_a_look_that_failed_half_way_has_seen_nothing_so_the_next_tells_it_all() -> None:
    aws = EcsOnly("http://none", "us-east-1")
    ecs, look = aws.client("ecs"), sources.deployments(aws)
    told = {"id": "1", "rolloutState": "IN_PROGRESS", "createdAt": AT, "updatedAt": AT, "runningCount": 0}
    ecs.clusters, ecs.deployments, ecs.busy = ["c", "d"], [told], "d"
    with pytest.raises(ClientError):
        look()
    ecs.clusters, ecs.busy = ["c"], ""
    assert [event["detail"]["deploymentId"] for event in look()] == ["1"]
