"""From a drop to a machine and on to the next ones, through the handlers and the real adapters, on AWS in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import boto3
import on_batch_settled
import on_data_dropped
import on_machine_changed
import pytest

from tests.handlers.samples import SETTINGS, dropped, message, sample

BUCKET = SETTINGS["BUCKET"]


@pytest.fixture(autouse=True)
def stack(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the template makes for machines: a launch template, two subnets, a group of schedules."""
    request.getfixturevalue("aws")
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"] for number in (1, 2)]
    some: Any = [{"Name": "architecture", "Values": ["arm64"]}]  # to list all 1,301 images takes seconds
    image = ec2.describe_images(Owners=["amazon"], Filters=some)["Images"][0]["ImageId"]
    made = ec2.create_launch_template(LaunchTemplateName="machines", LaunchTemplateData={"ImageId": image})
    boto3.client("scheduler").create_schedule_group(Name=SETTINGS["GUARD_GROUP"])
    monkeypatch.setenv("LAUNCH_TEMPLATE_ID", made["LaunchTemplate"]["LaunchTemplateId"])
    monkeypatch.setenv("SUBNET_IDS", ",".join(subnets))
    monkeypatch.setenv("QUIET_SECONDS", "0")
    flows = (on_data_dropped.flow, on_batch_settled.flow, on_machine_changed.flow)
    for flow in flows:
        flow.cache_clear()
    yield
    for flow in flows:
        flow.cache_clear()


def a_run(context: object) -> dict[str, Any]:
    """A drop, and the timer that it set."""
    content = b"text,label\ngood,pos\nbad,neg\n"
    told = boto3.client("s3").put_object(Bucket=BUCKET, Key="raw/a.csv", Body=content)
    event = dropped()
    event["detail"]["object"].update(
        {"size": len(content), "key": "raw/a.csv", "etag": told["ETag"].strip('"'), "version-id": told["VersionId"]}
    )
    on_data_dropped.handler({"Records": [message(event)]}, context)
    on_batch_settled.handler(the_timer(), context)
    return run()


def the_timer() -> dict[str, Any]:
    """The message that was sent last, however long it is to be delayed."""
    sent = boto3.client("sqs").receive_message(QueueUrl=os.environ["BATCH_QUEUE_URL"], MaxNumberOfMessages=10)
    return {"Records": [message(sent["Messages"][-1]["Body"])]}


def run() -> dict[str, Any]:
    found = boto3.client("dynamodb").query(
        TableName=SETTINGS["LEDGER_TABLE"],
        KeyConditionExpression="kind = :kind",
        ExpressionAttributeValues={":kind": {"S": "run"}},
    )["Items"]
    known: dict[str, Any] = json.loads(found[0]["doc"]["S"])
    return known


def outcome(run_id: str, attempt: int) -> dict[str, Any]:
    """What the trainer writes when it was taken back, and the event of it."""
    told = {"outcome": "interrupted", "cause": "spot", "reason": "Spot notice; saved step 14.", "step": 14}
    key = f"logs/{run_id}/{attempt}/outcome.json"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps(told).encode())
    event = sample("on_machine_changed.outcome")
    event["detail"]["object"]["key"] = key
    return event


def of_machine(kind: str, machine: str) -> dict[str, Any]:
    event = sample(kind)
    event["detail"]["instance-id"] = machine
    return event


def alive() -> dict[str, str]:
    """Machine id -> the attempt that it is for."""
    found = boto3.client("ec2").describe_instances(Filters=[{"Name": "tag:tidegate:stack", "Values": ["ours"]}])
    machines = [machine for group in found["Reservations"] for machine in group["Instances"]]
    tags = [{tag["Key"]: tag["Value"] for tag in machine["Tags"]} for machine in machines]
    return {machine["InstanceId"]: told["tidegate:attempt"] for machine, told in zip(machines, tags, strict=True)}


def test_a_settled_batch_gets_a_machine_with_its_guard(context: object) -> None:
    known = a_run(context)
    assert (known["state"], known["attempt"]) == ("LAUNCHING", 1)
    assert alive() == {known["machine"]: "1"}
    schedules = boto3.client("scheduler").list_schedules(GroupName=SETTINGS["GUARD_GROUP"])["Schedules"]
    assert [told["Name"] for told in schedules] == [f"end-{known['machine']}"]


def test_the_trainers_last_word_brings_the_next_machine(context: object) -> None:
    first = a_run(context)
    on_machine_changed.handler({**sample("on_machine_changed"), **running(first["machine"])}, context)
    assert run()["state"] == "TRAINING"
    on_machine_changed.handler(outcome(first["run_id"], 1), context)
    known = run()
    assert (known["state"], known["attempt"], known["stints"][0]["cause"]) == ("LAUNCHING", 2, "spot")
    assert alive() == {first["machine"]: "1", known["machine"]: "2"}
    assert known["stints"][0]["subnet"] in os.environ["SUBNET_IDS"]


def running(machine: str) -> dict[str, Any]:
    return {"detail": {"instance-id": machine, "state": "running"}}


@pytest.mark.parametrize("warning", ["spot", "rebalance"])
def test_a_warning_brings_it_when_the_trainer_says_nothing(context: object, warning: str) -> None:
    first = a_run(context)
    on_machine_changed.handler(of_machine(f"on_machine_changed.{warning}", first["machine"]), context)
    assert run()["machine"] == first["machine"]
    on_batch_settled.handler({"Records": [message({"machine": first["machine"]})]}, context)
    known = run()
    assert (known["attempt"], known["stints"][0]["cause"]) == (2, "notice")


def test_an_object_that_is_no_outcome_is_ignored(context: object) -> None:
    known = a_run(context)
    event = sample("on_machine_changed.outcome")
    event["detail"]["object"]["key"] = f"logs/{known['run_id']}/1/plots/outcome.json"
    on_machine_changed.handler(event, context)
    assert run() == known
