"""The service on ECS: a new revision differs in image, model and release alone; what is seen is what runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber
from controlplane.adapters.ecs_service import EcsService, heard_alarms
from controlplane.domain.releases import Release, ReleaseState
from controlplane.domain.rollout import Rollout
from controlplane.domain.service_view import Deployment, RunningTask
from controlplane.domain.serving import Placeholder, serving_release

DIGEST = "sha256:" + "2" * 64
RELEASE = Release(2, "push v2", DIGEST, "films-1")
DESCRIBE = {"cluster": "c", "services": ["s"]}


def revision(number: int, release: str, *more: dict[str, Any]) -> dict[str, Any]:
    """As DescribeTaskDefinition tells it, with a sidecar and what only AWS may set."""
    return {
        "taskDefinitionArn": f"arn:td:{number}",
        "family": "tidegate-inference",
        "revision": number,
        "status": "ACTIVE",
        "requiresAttributes": [{"name": "x"}],
        "compatibilities": ["FARGATE"],
        "registeredBy": "cloudformation",
        "cpu": "512",
        "memory": "1024",
        "networkMode": "awsvpc",
        "taskRoleArn": "arn:role",
        "containerDefinitions": [
            {
                "name": "inference",
                "image": "old",
                "command": ["python3", "-c", "x"],
                "essential": True,
                "environment": [{"name": "TIDEGATE_RELEASE", "value": release}, {"name": "KEPT", "value": "1"}],
            },
            {"name": "sidecar", "image": "guard", "environment": [{"name": "SIDE", "value": "1"}]},
        ],
        **{key: value for extra in more for key, value in extra.items()},
    }


def deployment(name: str, number: int, status: str, rollout: str = "COMPLETED", running: int = 0) -> dict[str, Any]:
    return {
        "id": name,
        "taskDefinition": f"arn:td:{number}",
        "status": status,
        "rolloutState": rollout,
        "rolloutStateReason": f"why {name}",
        "runningCount": running,
    }


def service(*deployments: dict[str, Any], desired: int = 2) -> dict[str, Any]:
    return {
        "services": [
            {
                "taskDefinition": deployments[0]["taskDefinition"],
                "desiredCount": desired,
                "deployments": list(deployments),
            }
        ]
    }


@pytest.fixture
def ecs(stubbed: Callable[[str], tuple[Any, Stubber]]) -> tuple[Any, Stubber]:
    return stubbed("ecs")


def adapter(client: Any) -> EcsService:
    return EcsService(
        client,
        cluster="c",
        service="s",
        repository_uri="1.ecr/inference",
        models_uri="s3://data/models/",
        placeholder_image="public.ecr/python",
    )


def describes(stub: Stubber, number: int, release: str) -> None:
    stub.add_response(
        "describe_task_definition",
        {"taskDefinition": revision(number, release)},
        {"taskDefinition": f"arn:td:{number}"},
    )


class TestDeploy:
    def test_only_image_command_model_and_release_are_new(self, ecs: tuple[Any, Stubber]) -> None:
        client, stub = ecs
        stub.add_response("describe_services", service(deployment("d1", 1, "PRIMARY")), DESCRIBE)
        describes(stub, 1, "none")
        image = f"1.ecr/inference@{DIGEST}"
        stub.add_response(
            "register_task_definition",
            {"taskDefinition": {"taskDefinitionArn": "arn:td:2"}},
            {
                "family": "tidegate-inference",
                "cpu": "512",
                "memory": "1024",
                "networkMode": "awsvpc",
                "taskRoleArn": "arn:role",
                "containerDefinitions": [
                    {
                        "name": "inference",
                        "image": image,
                        "command": ["serve"],
                        "essential": True,
                        "environment": [
                            {"name": "KEPT", "value": "1"},
                            {"name": "MODEL_URI", "value": "s3://data/models/films-1/"},
                            {"name": "TIDEGATE_RELEASE", "value": "2"},
                            {"name": "TIDEGATE_IMAGE", "value": image},
                        ],
                    },
                    {"name": "sidecar", "image": "guard", "environment": [{"name": "SIDE", "value": "1"}]},
                ],
            },
        )
        stub.add_response(
            "update_service",
            {"service": service(deployment("d2", 2, "PRIMARY"), deployment("d1", 1, "ACTIVE"))["services"][0]},
            {"cluster": "c", "service": "s", "taskDefinition": "arn:td:2"},
        )
        assert adapter(client).deploy(RELEASE) == "d2"

    def test_asking_again_for_the_same_release_changes_nothing(self, ecs: tuple[Any, Stubber]) -> None:
        client, stub = ecs
        stub.add_response("describe_services", service(deployment("d2", 2, "PRIMARY")), DESCRIBE)
        describes(stub, 2, "2")
        assert adapter(client).deploy(RELEASE) == "d2"

    def test_the_placeholder_is_as_the_template_made_it(self, ecs: tuple[Any, Stubber]) -> None:
        client, stub = ecs
        stub.add_response("describe_services", service(deployment("d2", 2, "PRIMARY")), DESCRIBE)
        describes(stub, 2, "2")
        told = serving_release(Rollout(), Placeholder("public.ecr/python"), repository_uri="x", bucket="y")
        environment = [
            {"name": "KEPT", "value": "1"},
            {"name": "MODEL_URI", "value": told["ModelUri"]},
            {"name": "TIDEGATE_RELEASE", "value": told["Release"]},
            {"name": "TIDEGATE_IMAGE", "value": told["Image"]},
        ]
        container = {
            "name": "inference",
            "image": told["Image"],
            "command": told["Command"].split("|"),
            "essential": True,
            "environment": environment,
        }
        sidecar = {"name": "sidecar", "image": "guard", "environment": [{"name": "SIDE", "value": "1"}]}
        asked = dict.fromkeys(("family", "cpu", "memory", "networkMode", "taskRoleArn"), ANY)
        stub.add_response(
            "register_task_definition",
            {"taskDefinition": {"taskDefinitionArn": "arn:td:3"}},
            {**asked, "containerDefinitions": [container, sidecar]},
        )
        stub.add_response(
            "update_service",
            {"service": service(deployment("d3", 3, "PRIMARY"), deployment("d2", 2, "ACTIVE"))["services"][0]},
            {"cluster": "c", "service": "s", "taskDefinition": "arn:td:3"},
        )
        assert adapter(client).deploy(Release(0, "back from release 2", None, None)) == "d3"


SHIFTING = {
    "strategy": "CANARY",
    "minimumHealthyPercent": 100,
    "maximumPercent": 200,
    "bakeTimeInMinutes": 10,
    "canaryConfiguration": {"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 5},
    "lifecycleHooks": [{"hookTargetArn": "arn:hook", "roleArn": "arn:hook-role", "lifecycleStages": ["X"]}],
}
ALARMS = {"alarmNames": ["errors-high"], "rollback": True}
AT = datetime(2026, 1, 1, tzinfo=UTC)
ROLLING = RELEASE.now(ReleaseState.ROLLING, AT, "push v2")


WAY_BACK = RELEASE.now(ReleaseState.SERVING, AT, "")


def shifts(stub: Stubber, *, heard: bool) -> None:
    """The service shifts, and its next revision is registered."""
    found = service(deployment("d1", 1, "PRIMARY"))
    found["services"][0]["deploymentConfiguration"] = {**SHIFTING, "alarms": {**ALARMS, "enable": heard}}
    stub.add_response("describe_services", found, DESCRIBE)
    describes(stub, 1, "1")
    stub.add_response(
        "register_task_definition",
        {"taskDefinition": {"taskDefinitionArn": "arn:td:2"}},
        dict.fromkeys(("family", "cpu", "memory", "networkMode", "taskRoleArn", "containerDefinitions"), ANY),
    )


def refuses_to_be_deaf(stub: Stubber, code: str) -> None:
    shifts(stub, heard=True)
    asked = {"cluster": "c", "service": "s", "taskDefinition": "arn:td:2"}
    deaf = {**SHIFTING, "alarms": {**ALARMS, "enable": False}}
    stub.add_client_error("update_service", code, expected_params={**asked, "deploymentConfiguration": deaf})


class TestAlarmsOfEcs:
    """With the shifting strategies ECS moves back by itself on an alarm; not on the way back to what served."""

    @pytest.mark.parametrize(
        ("told", "release", "heard"),
        [
            pytest.param(True, WAY_BACK, False, id="a way back is not turned round"),
            pytest.param(True, replace(ROLLING, takes_back=3), False, id="nor is a rollback"),
            pytest.param(False, ROLLING, True, id="the next new release is watched again"),
            pytest.param(True, ROLLING, None, id="nothing is said of what is so already"),
        ],
    )
    def test_they_are_heard_for_a_new_release_alone(
        self, ecs: tuple[Any, Stubber], told: bool, release: Release, heard: bool | None
    ) -> None:
        client, stub = ecs
        shifts(stub, heard=told)
        asked: dict[str, Any] = {"cluster": "c", "service": "s", "taskDefinition": "arn:td:2"}
        if heard is not None:
            asked["deploymentConfiguration"] = {**SHIFTING, "alarms": {**ALARMS, "enable": heard}}
        updated = service(deployment("d2", 2, "PRIMARY"))["services"][0]
        stub.add_response("update_service", {"service": updated}, asked)
        assert adapter(client).deploy(release) == "d2"

    @pytest.mark.parametrize("strategy", ["CANARY", "LINEAR", "BLUE_GREEN"])
    def test_each_strategy_that_shifts_is_told(self, strategy: str) -> None:
        told = {"strategy": strategy, "alarms": {**ALARMS, "enable": True}}
        asked = heard_alarms({"deploymentConfiguration": told}, False)
        assert asked == {"deploymentConfiguration": {**told, "alarms": {**ALARMS, "enable": False}}}

    @pytest.mark.parametrize(
        "told",
        [
            pytest.param({"strategy": "CANARY", "alarms": {"alarmNames": [], "enable": False}}, id="it has no alarms"),
            pytest.param({"strategy": "ROLLING"}, id="nor has one that rolls"),
            pytest.param(
                {**SHIFTING, "strategy": "ROLLING", "alarms": {**ALARMS, "enable": True}}, id="nothing is its own"
            ),
            pytest.param({"alarms": {**ALARMS, "enable": True}}, id="it has no strategy"),
        ],
    )
    @pytest.mark.parametrize("heard", [True, False])
    def test_nothing_is_said_where_ecs_shifts_nothing(self, told: dict[str, Any], heard: bool) -> None:
        assert heard_alarms({"deploymentConfiguration": told}, heard) == {}

    @pytest.mark.parametrize("code", ["AccessDeniedException", "InvalidParameterException", "ClientException"])
    def test_a_way_back_that_ecs_refuses_to_be_deaf_on_goes_all_the_same(
        self, ecs: tuple[Any, Stubber], capsys: pytest.CaptureFixture[str], code: str
    ) -> None:
        client, stub = ecs
        refuses_to_be_deaf(stub, code)
        updated = service(deployment("d2", 2, "PRIMARY"))["services"][0]
        stub.add_response(
            "update_service", {"service": updated}, {"cluster": "c", "service": "s", "taskDefinition": "arn:td:2"}
        )
        assert adapter(client).deploy(WAY_BACK) == "d2"
        told = json.loads(capsys.readouterr().out)
        assert (told["level"], told["subject"]) == ("WARNING", "alarms of s")
        assert code in told["why"]

    @pytest.mark.parametrize("code", ["ServerException", "ThrottlingException", "ServiceNotActiveException"])
    def test_any_other_refusal_is_not_swallowed(self, ecs: tuple[Any, Stubber], code: str) -> None:
        client, stub = ecs
        refuses_to_be_deaf(stub, code)
        with pytest.raises(ClientError, match=code):
            adapter(client).deploy(WAY_BACK)

    def test_what_is_refused_without_them_is_refused(self, ecs: tuple[Any, Stubber]) -> None:
        client, stub = ecs
        refuses_to_be_deaf(stub, "ClientException")
        stub.add_client_error("update_service", "ClientException")
        with pytest.raises(ClientError, match="ClientException"):
            adapter(client).deploy(WAY_BACK)


class TestView:
    def test_it_tells_deployments_running_digests_and_what_drains(self, ecs: tuple[Any, Stubber]) -> None:
        client, stub = ecs
        stub.add_response(
            "describe_services",
            service(
                deployment("d2", 2, "PRIMARY", "IN_PROGRESS", running=1),
                deployment("d1", 1, "ACTIVE", running=2),
            ),
            DESCRIBE,
        )
        describes(stub, 2, "2")
        describes(stub, 1, "none")
        stub.add_response(
            "list_tasks",
            {"taskArns": ["t1", "t2", "t3"]},
            {"cluster": "c", "serviceName": "s", "desiredStatus": "RUNNING"},
        )
        containers = [{"name": "inference", "imageDigest": DIGEST}, {"name": "aws-guardduty-agent", "imageDigest": "x"}]
        stub.add_response(
            "describe_tasks",
            {
                "tasks": [
                    {
                        "taskArn": "arn:aws:ecs:r:1:task/c/t1",
                        "taskDefinitionArn": "arn:td:2",
                        "lastStatus": "RUNNING",
                        "containers": containers,
                        "attachments": [
                            {
                                "type": "ElasticNetworkInterface",
                                "details": [
                                    {"name": "subnetId", "value": "subnet-1"},
                                    {"name": "privateIPv4Address", "value": "10.77.0.9"},
                                ],
                            }
                        ],
                    },
                    {"taskDefinitionArn": "arn:td:2", "lastStatus": "PENDING", "containers": [{"name": "inference"}]},
                    {
                        "taskArn": "arn:aws:ecs:r:1:task/c/t3",
                        "taskDefinitionArn": "arn:td:1",
                        "lastStatus": "RUNNING",
                        "containers": [{"name": "inference", "imageDigest": "sha256:old"}],
                    },
                ]
            },
            {"cluster": "c", "tasks": ["t1", "t2", "t3"]},
        )
        view = adapter(client).view()
        assert view.deployments == (
            Deployment("d2", 2, True, "IN_PROGRESS", "why d2"),
            Deployment("d1", None, False, "COMPLETED", "why d1"),
        )
        assert view.tasks == (RunningTask("t1", "10.77.0.9:8080", DIGEST),)
        assert (view.digests, view.running, view.desired, view.draining) == (frozenset({DIGEST}), 1, 2, 2)

    def test_a_service_without_tasks_runs_nothing(self, ecs: tuple[Any, Stubber]) -> None:
        client, stub = ecs
        stub.add_response("describe_services", service(deployment("d1", 1, "PRIMARY")), DESCRIBE)
        describes(stub, 1, "none")
        stub.add_response("list_tasks", {"taskArns": []})
        view = adapter(client).view()
        assert (view.digests, view.running) == (frozenset(), 0)


def test_scaling_changes_the_count_alone(ecs: tuple[Any, Stubber]) -> None:
    client, stub = ecs
    stub.add_response("update_service", {}, {"cluster": "c", "service": "s", "desiredCount": 3})
    adapter(client).scale_to(3)


def test_a_revision_of_the_service_carries_the_release_of_its_task_definition(ecs: tuple[Any, Stubber]) -> None:
    client, stub = ecs
    arn = "arn:aws:ecs:us-east-1:000000000000:service-revision/c/s/1"
    told = {"serviceRevisions": [{"serviceRevisionArn": arn, "taskDefinition": "arn:td:7"}]}
    stub.add_response("describe_service_revisions", told, {"serviceRevisionArns": [arn]})
    describes(stub, 7, "4")
    assert adapter(client).release_of(arn) == 4
