from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.aws import Aws
from local.processes import wait_until

TERMINATE = "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances"
STACK = {"tidegate:stack": "mine"}


@pytest.fixture
def machine(aws: Aws) -> str:
    tags = [{"Key": name, "Value": value} for name, value in STACK.items()]
    made = aws.client("ec2").run_instances(
        ImageId="ami-1", MinCount=1, MaxCount=1, TagSpecifications=[{"ResourceType": "instance", "Tags": tags}]
    )
    return str(made["Instances"][0]["InstanceId"])


@pytest.fixture
def dead_letters(aws: Aws) -> tuple[str, str]:
    """Url and ARN."""
    sqs = aws.client("sqs")
    url = sqs.create_queue(QueueName=uuid.uuid4().hex)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def role(aws: Aws, *, trusts: str = "scheduler.amazonaws.com", of: str = "000000000000", stack: str = "mine") -> str:
    iam, name = aws.client("iam"), uuid.uuid4().hex
    trust = {
        "Effect": "Allow", "Principal": {"Service": trusts}, "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": of}},
    }  # fmt: skip
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    may = {
        "Effect": "Allow", "Action": "ec2:TerminateInstances", "Resource": "arn:aws:ec2:*:*:instance/*",
        "Condition": {"StringEquals": {"aws:ResourceTag/tidegate:stack": stack}},
    }  # fmt: skip
    iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=json.dumps({"Statement": [may]}))
    return str(made["Role"]["Arn"])


def schedule(aws: Aws, role: str, machine: str, dead: str, target: str = TERMINATE, seconds: int = 0) -> str:
    name, at = uuid.uuid4().hex, datetime.now(UTC) + timedelta(seconds=seconds)
    aws.client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        ActionAfterCompletion="DELETE",
        Target={
            "Arn": target, "RoleArn": role, "Input": json.dumps({"InstanceIds": [machine]}),
            "DeadLetterConfig": {"Arn": dead},
        },
    )  # fmt: skip
    return name


def state(aws: Aws, machine: str) -> str:
    found = aws.client("ec2").describe_instances(InstanceIds=[machine])["Reservations"][0]["Instances"]
    return str(found[0]["State"]["Name"])


def waiting(aws: Aws, url: str) -> list[Any]:
    return list(aws.client("sqs").receive_message(QueueUrl=url).get("Messages", []))


def test_a_schedule_that_is_due_ends_its_machine_and_is_gone(
    aws: Aws, machine: str, dead_letters: tuple[str, str]
) -> None:
    name = schedule(aws, role(aws), machine, dead_letters[1])
    wait_until(lambda: state(aws, machine) == "terminated", 20, "The end of the machine")
    known = aws.client("scheduler").list_schedules
    wait_until(lambda: name not in [one["Name"] for one in known()["Schedules"]], 10, "The end of the schedule")
    assert waiting(aws, dead_letters[0]) == []


def test_a_schedule_of_the_future_does_nothing(aws: Aws, machine: str, dead_letters: tuple[str, str]) -> None:
    later = schedule(aws, role(aws), machine, dead_letters[1], seconds=3600)
    other = str(aws.client("ec2").run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"])
    aws.client("ec2").create_tags(Resources=[other], Tags=[{"Key": k, "Value": v} for k, v in STACK.items()])
    schedule(aws, role(aws), other, dead_letters[1])
    wait_until(lambda: state(aws, other) == "terminated", 20, "The end of the other machine")
    assert state(aws, machine) == "running"
    aws.client("scheduler").delete_schedule(Name=later)


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": {"stack": "another"}},
        {"role": {"trusts": "lambda.amazonaws.com"}},
        {"role": {"of": "111111111111"}},
        {"target": f"{TERMINATE}ButNicely"},
    ],
    ids=["a machine of another stack", "a role of another service", "a role of another account", "no such call"],
)
def test_what_the_role_may_not_do_goes_to_the_dead_letters(
    aws: Aws, machine: str, dead_letters: tuple[str, str], wrong: dict[str, Any]
) -> None:
    schedule(aws, role(aws, **wrong.get("role", {})), machine, dead_letters[1], wrong.get("target", TERMINATE))
    wait_until(lambda: bool(waiting(aws, dead_letters[0])), 20, "The dead letter")
    assert state(aws, machine) == "running"
