"""A service of the real emulator on the stand-in: rolled over under load, rolled back, with its role enforced."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from local.processes import wait_until
from tests.local_engine.conftest import PLACEHOLDER, Cloud
from tests.local_engine.helpers import CRASHES, NEVER_HEALTHY, REGION

Pushed = Callable[..., str]

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
# What the template does before any image was pushed: the real port and health path, out of a public image.
PLACEHOLDER_PROGRAM = """
import os, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.ThreadingHTTPServer((os.environ.get("BIND_ADDRESS", ""), 8080), Handler).serve_forever()
"""


@dataclass
class Service:
    """An ECS service of two tasks behind a load balancer, as the template makes it."""

    cloud: Cloud
    name: str
    role: str
    host: str = ""
    group: str = ""
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self.clients:
            make: Any = boto3.client
            self.clients[service] = make(service, endpoint_url=self.cloud.endpoint, region_name=REGION)
        return self.clients[service]

    def register(self, image: str, command: list[str] | None = None) -> str:
        container = {
            "name": "inference",
            "image": image,
            "essential": True,
            "portMappings": [{"containerPort": 8080}],
            **({"command": command} if command else {}),
        }
        answer = self.client("ecs").register_task_definition(
            family=self.name,
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            taskRoleArn=self.role,
            containerDefinitions=[container],
            runtimePlatform={"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def create(self, definition: str, health_path: str = "/health") -> None:
        elb = self.client("elbv2")
        group = elb.create_target_group(
            Name=self.name, Protocol="HTTP", Port=8080, TargetType="ip", HealthCheckPath=health_path, VpcId="vpc-1"
        )["TargetGroups"][0]["TargetGroupArn"]
        balancer = elb.create_load_balancer(Name=self.name, Subnets=["subnet-1", "subnet-2"])["LoadBalancers"][0]
        elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=80,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
        )
        self.group, self.host = group, balancer["DNSName"]
        ecs = self.client("ecs")
        ecs.create_cluster(clusterName=self.name)
        ecs.create_service(
            cluster=self.name, serviceName=self.name, taskDefinition=definition, desiredCount=2, launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
            loadBalancers=[{"targetGroupArn": group, "containerName": "inference", "containerPort": 8080}],
            deploymentConfiguration={
                "deploymentCircuitBreaker": {"enable": True, "rollback": True},
                "minimumHealthyPercent": 100, "maximumPercent": 200,
            },
        )  # fmt: skip

    def update(self, definition: str) -> None:
        self.client("ecs").update_service(cluster=self.name, service=self.name, taskDefinition=definition)

    def deployments(self) -> list[dict[str, Any]]:
        found = self.client("ecs").describe_services(cluster=self.name, services=[self.name])["services"][0]
        return list(found["deployments"])

    def serves(self, definition: str) -> bool:
        first = next(one for one in self.deployments() if one["status"] == "PRIMARY")
        # The emulator calls a service's first deployment COMPLETED before its tasks run, so they are counted too.
        return (first["taskDefinition"], first["rolloutState"], first["runningCount"]) == (definition, "COMPLETED", 2)

    def failed(self, definition: str) -> bool:
        mine = [one for one in self.deployments() if one["taskDefinition"] == definition]
        return any(one["rolloutState"] == "FAILED" for one in mine)

    def stopped(self, definition: str) -> list[str]:
        """Why tasks of this definition stopped."""
        ecs = self.client("ecs")
        arns = ecs.list_tasks(cluster=self.name, desiredStatus="STOPPED")["taskArns"]
        tasks = ecs.describe_tasks(cluster=self.name, tasks=arns)["tasks"] if arns else []
        return [task["stoppedReason"] for task in tasks if task["taskDefinitionArn"] == definition]

    def being_made(self, definition: str) -> int:
        """How many tasks of this definition have begun and do not run yet."""
        ecs = self.client("ecs")
        arns = ecs.list_tasks(cluster=self.name)["taskArns"]
        tasks = ecs.describe_tasks(cluster=self.name, tasks=arns)["tasks"] if arns else []
        mine = [task for task in tasks if task["taskDefinitionArn"] == definition]
        return sum(task["lastStatus"] not in {"RUNNING", "STOPPED"} for task in mine)

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urllib.parse.urlsplit(self.cloud.endpoint).netloc, timeout=30)

    def get(self, path: str, connection: http.client.HTTPConnection | None = None) -> tuple[int, Any]:
        wire = connection or self.connection()
        try:
            wire.request("GET", path, headers={"Host": self.host})
            response = wire.getresponse()
            content = response.read()
            return response.status, json.loads(content) if response.status == 200 and content else content.decode()
        finally:
            if connection is None:
                wire.close()


class Load:
    """Three clients that keep their connections; every third request takes 300 ms."""

    def __init__(self, service: Service) -> None:
        self.answers: list[tuple[int, Any]] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(service,)) for _ in range(3)]

    def _ask(self, service: Service) -> None:
        wire = service.connection()
        for number in range(1_000_000):
            if self._over.wait(0.02):
                break
            try:
                self.answers.append(service.get("/slow?seconds=0.3" if number % 3 == 0 else "/", wire))
            except (OSError, http.client.HTTPException) as fault:
                self.answers.append((0, repr(fault)))
                wire.close()
        wire.close()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def versions(self) -> set[str]:
        return {answer["version"] for status, answer in self.answers if status == 200}

    @property
    def failures(self) -> list[tuple[int, Any]]:
        return [answer for answer in self.answers if answer[0] != 200]


@pytest.fixture(scope="module")
def role(cloud: Cloud) -> str:
    with (
        closing(boto3.client("iam", endpoint_url=cloud.endpoint)) as iam,
        closing(boto3.client("s3", endpoint_url=cloud.endpoint)) as s3,
    ):
        return make_role(iam, s3)


def make_role(iam: Any, s3: Any) -> str:
    arn = iam.create_role(RoleName="engine-task", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::engine-tests/models/*"}
    iam.put_role_policy(
        RoleName="engine-task", PolicyName="reads-models",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )  # fmt: skip
    s3.create_bucket(Bucket="engine-tests", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for key in ("models/r1", "raw/r1"):
        s3.put_object(Bucket="engine-tests", Key=key, Body=b"content")
    return str(arn)


@pytest.fixture
def service(cloud: Cloud, role: str, request: pytest.FixtureRequest) -> Iterator[Service]:
    name = "s-" + str(abs(hash(request.node.name)))[:12]
    made = Service(cloud, name, role)
    yield made
    made.client("ecs").delete_service(cluster=name, service=name, force=True)
    for client in made.clients.values():
        client.close()


@pytest.mark.e2e
def test_a_service_rolls_over_under_load_and_back_from_an_image_that_crashes(service: Service, pushed: Pushed) -> None:
    one, two = (service.register(pushed(version)) for version in ("roll-1", "roll-2"))
    service.create(one)
    wait_until(lambda: service.serves(one), 40, "The first deployment")

    with Load(service) as load:
        wait_until(lambda: len(load.answers) >= 30, 20, "Traffic on the first version")
        service.update(two)
        wait_until(lambda: service.serves(two), 40, "The second deployment")
        seen = len(load.answers)
        wait_until(lambda: len(load.answers) >= seen + 30, 20, "Traffic on the second version")

        three = service.register(pushed("roll-3", CRASHES))
        service.update(three)
        wait_until(lambda: service.failed(three) and service.serves(two), 60, "The rollback")

    assert load.failures == []
    assert load.versions == {"roll-1", "roll-2"}
    assert set(service.stopped(three)) == {"Essential container in task exited"}


@pytest.mark.e2e
def test_a_deployment_completes_though_it_replaced_one_whose_tasks_were_being_made_and_fell(
    service: Service, pushed: Pushed
) -> None:
    """Old and new together are all that may run: the way back begins when the tasks that never got healthy end."""
    good, mute = service.register(pushed("back-1")), service.register(pushed("back-2", NEVER_HEALTHY))
    service.create(good)
    wait_until(lambda: service.serves(good), 40, "The first deployment")
    service.update(mute)
    wait_until(lambda: service.being_made(mute) == 2, 20, "The tasks of the second")
    service.update(good)
    wait_until(lambda: service.serves(good) and service.being_made(mute) == 0, 40, "The way back")


@pytest.mark.e2e
def test_a_task_that_its_target_group_finds_unhealthy_never_runs(service: Service) -> None:
    definition = service.register(PLACEHOLDER, ["python3", "-c", PLACEHOLDER_PROGRAM])
    service.create(definition, health_path="/ready")
    wait_until(lambda: service.stopped(definition) != [], 40, "The end of a task")
    assert service.stopped(definition)[0] == "Task failed ELB health checks"
    assert service.deployments()[0]["runningCount"] == 0


@pytest.mark.e2e
def test_the_placeholder_serves_until_an_image_comes_and_the_role_is_enforced(service: Service, pushed: Pushed) -> None:
    first = service.register(PLACEHOLDER, ["python3", "-c", PLACEHOLDER_PROGRAM])
    service.create(first)
    wait_until(lambda: service.serves(first), 40, "The placeholder's deployment")
    assert (service.get("/health")[0], service.get("/predict")[0]) == (200, 503)

    real = service.register(pushed("role-1"))
    service.update(real)
    wait_until(lambda: service.serves(real) and len(service.deployments()) == 1, 40, "The image's deployment")
    assert service.get("/read?bucket=engine-tests&key=models/r1") == (200, {"read": "content"})
    assert service.get("/read?bucket=engine-tests&key=raw/r1") == (200, {"refused": "AccessDenied"})
