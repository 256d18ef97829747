from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ministack.services import ecs as emulated

from local.aws import Aws
from local.emulator.permissions import ecs_resource


@pytest.fixture
def service(aws: Aws) -> dict[str, str]:
    """A service of no task, and two revisions of its task definition; it runs the first."""
    ecs, name = aws.client("ecs"), uuid.uuid4().hex[:8]
    ecs.create_cluster(clusterName=name)
    container: Any = {"name": "one", "image": "one", "memory": 64}
    first, second = (
        ecs.register_task_definition(family=name, containerDefinitions=[container])["taskDefinition"] for _ in range(2)
    )
    ecs.create_service(
        cluster=name, serviceName=name, taskDefinition=first["taskDefinitionArn"], desiredCount=0, launchType="FARGATE"
    )
    return {"name": name, "first": first["taskDefinitionArn"], "second": second["taskDefinitionArn"]}


def newest(ecs: Any, name: str) -> Any:
    return ecs.list_service_deployments(cluster=name, service=name)["serviceDeployments"][0]


def test_each_deployment_has_a_revision_that_stays_known(aws: Aws, service: dict[str, str]) -> None:
    ecs, name = aws.client("ecs"), service["name"]
    old = newest(ecs, name)["targetServiceRevisionArn"]
    ecs.update_service(cluster=name, service=name, taskDefinition=service["second"])
    new = newest(ecs, name)["targetServiceRevisionArn"]
    assert new.startswith(f"arn:aws:ecs:us-east-1:000000000000:service-revision/{name}/{name}/") and new != old
    described = ecs.describe_service_revisions(serviceRevisionArns=[new, old])
    assert [one["taskDefinition"] for one in described["serviceRevisions"]] == [service["second"], service["first"]]
    assert [one["serviceRevisionArn"] for one in described["serviceRevisions"]] == [new, old]
    assert described["failures"] == []


def test_what_is_unknown_is_said_to_be_missing(aws: Aws, service: dict[str, str]) -> None:
    ecs = aws.client("ecs")
    nowhere = newest(ecs, service["name"])["targetServiceRevisionArn"][:-19] + "1" * 19
    described = ecs.describe_service_revisions(serviceRevisionArns=[nowhere])
    assert described["serviceRevisions"] == []
    assert described["failures"] == [{"arn": nowhere, "reason": "MISSING"}]
    with pytest.raises(ClientError, match="Service not found"):
        ecs.list_service_deployments(cluster=service["name"], service="none")


def test_iam_is_asked_about_the_revision() -> None:
    arn = "arn:aws:ecs:eu-west-1:1:service-revision/c/s/123"
    assert ecs_resource({"serviceRevisionArns": [arn]}, "eu-west-1", "1") == arn


def test_the_emulator_alone_has_none() -> None:
    """When it has, local/emulator/revisions.py can go."""
    assert json.loads(emulated._describe_service_revisions({"serviceRevisionArns": ["any"]})[2]) == {
        "serviceRevisions": []
    }
    assert json.loads(emulated._list_service_deployments({})[2]) == {"serviceDeployments": []}
