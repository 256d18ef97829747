"""The emulator leaves a mark when something changed, and whoever watches looks when the mark did."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.aws import Aws
from local.idle import MARK_FILE, Changes, looking_seldom
from local.processes import wait_until


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def machine(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    [made] = ec2.run_instances(ImageId="ami-1", InstanceType="c6i.large", MinCount=1, MaxCount=1)["Instances"]
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])


def image(aws: Aws) -> None:
    name = f"r-{uuid.uuid4().hex}"
    aws.client("ecr").create_repository(repositoryName=name)
    aws.client("ecr").put_image(repositoryName=name, imageManifest='{"schemaVersion": 2}', imageTag="v1")


def deployment(aws: Aws) -> None:
    ecs, name = aws.client("ecs"), uuid.uuid4().hex
    ecs.create_cluster(clusterName=name)
    ecs.register_task_definition(family=name, containerDefinitions=[{"name": "c", "image": "i", "memory": 64}])
    ecs.create_service(cluster=name, serviceName=name, taskDefinition=name, desiredCount=0)


def alarm(aws: Aws) -> None:
    cloudwatch, name = aws.client("cloudwatch"), uuid.uuid4().hex
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        MetricName="m",
        Namespace="n",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )


def topic(aws: Aws) -> None:
    aws.client("sns").create_topic(Name=uuid.uuid4().hex)


@pytest.mark.parametrize("change", [machine, image, deployment, alarm, topic])
def test_a_change_leaves_a_mark(aws: Aws, emulator_state: Path, change: Callable[[Aws], None]) -> None:
    mark = emulator_state / MARK_FILE
    wait_until(mark.exists, 5, "The first mark")
    before = mark.read_text()
    change(aws)
    wait_until(lambda: mark.read_text() != before, 5, "The mark of the change")


def test_the_state_of_an_alarm_leaves_a_mark_too(aws: Aws, emulator_state: Path) -> None:
    alarm(aws)
    [name, *_] = [one["AlarmName"] for one in aws.client("cloudwatch").describe_alarms()["MetricAlarms"]]
    changes = Changes(emulator_state, at_least_every=3600)
    changes.to_see()
    wait_until(lambda: not changes.to_see(), 5, "Silence")
    aws.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="tried")
    wait_until(changes.to_see, 5, "The mark of its state")


def test_one_looks_when_the_mark_changed_and_else_once_a_second(tmp_path: Path) -> None:
    clock = Clock()
    changes = Changes(tmp_path, clock)
    assert changes.to_see(), "the first look"
    assert not changes.to_see()
    (tmp_path / MARK_FILE).write_text("1")
    assert changes.to_see() and not changes.to_see()
    clock.now += 0.9
    assert not changes.to_see()
    clock.now += 0.2
    assert changes.to_see() and not changes.to_see()


def test_a_running_task_is_looked_at_twice_a_second_and_whenever_somebody_asks_for_it() -> None:
    clock, looks, task = Clock(), list[Any](), dict[str, Any]()
    look = looking_seldom(lambda *given: looks.append(given), clock)
    for _ in range(10):
        look(task, "docker")
        clock.now += 0.1
    assert looks == [(task, "docker")] * 2
    look(task)
    assert looks[2:] == [(task,)]
