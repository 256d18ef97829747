from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.aws import Aws
from local.events import Events
from local.machine import console
from local.machines import Machines
from local.processes import belonging_to, wait_until


class Ec2:
    """Asks for machines with a script of ours, and says what became of them."""

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        self.ec2 = aws.client("ec2")

    def launch(self, script: str, *, behavior: str = "terminate", capacity: str = "spot", profile: str = "") -> str:
        data: dict[str, Any] = {
            "ImageId": "ami-1",
            "UserData": base64.b64encode(script.encode()).decode(),
            "InstanceInitiatedShutdownBehavior": behavior,
            "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
            **({"IamInstanceProfile": {"Name": profile}} if profile else {}),
        }
        made = self.ec2.create_launch_template(LaunchTemplateName=uuid.uuid4().hex, LaunchTemplateData=data)
        spec = {"LaunchTemplateId": made["LaunchTemplate"]["LaunchTemplateId"], "Version": "$Latest"}
        configs = [{"LaunchTemplateSpecification": spec, "Overrides": [{"InstanceType": "c6i.large"}]}]
        fleet = self.ec2.create_fleet(
            Type="instant",
            LaunchTemplateConfigs=configs,
            TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": capacity},
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "tidegate:run", "Value": "r1"}]}],
        )
        return str(fleet["Instances"][0]["InstanceIds"][0])

    def state(self, key: str) -> str:
        groups = self.ec2.describe_instances(InstanceIds=[key])["Reservations"]
        return str(groups[0]["Instances"][0]["State"]["Name"])


class Clock:
    """Real time, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def ec2(aws: Aws) -> Ec2:
    others = aws.client("ec2").describe_instances()["Reservations"]
    if ids := [i["InstanceId"] for group in others for i in group["Instances"] if i["State"]["Name"] == "running"]:
        aws.client("ec2").terminate_instances(InstanceIds=ids)
    return Ec2(aws)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def machines(ec2: Ec2, clock: Clock, tmp_path: Path) -> Iterator[Machines]:
    machines = Machines(ec2.aws, tmp_path, Events(ec2.aws, tmp_path / "events.jsonl"), clock=clock)
    yield machines
    machines.end_all()
    assert belonging_to(tmp_path) == {}


def rounds_until(machines: Machines, holds: Callable[[], bool], what: str) -> None:
    def after_a_round() -> bool:
        machines.look()
        return holds()

    wait_until(after_a_round, 20, what)


def said(machines: Machines, key: str) -> str:
    return console(machines.state / "machines" / key)


def test_a_machine_of_a_fleet_runs_its_user_data(machines: Machines, ec2: Ec2) -> None:
    script = """#!/bin/bash
    at=$AWS_EC2_METADATA_SERVICE_ENDPOINT/latest
    token=$(curl -sf -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" $at/api/token)
    get() { curl -sf -H "X-aws-ec2-metadata-token: $token" $at/meta-data/$1; echo; }
    get instance-id; get tags/instance/tidegate:run; get instance-life-cycle
    echo "home $HOME, keys $(env | grep -c AWS_ACCESS)"; echo end"""
    key = ec2.launch(script)
    rounds_until(machines, lambda: "end" in said(machines, key), "The script")
    home = machines.state / "machines" / key / "home"
    assert said(machines, key).split("\n")[:4] == [key, "r1", "spot", f"home {home}, keys 0"]


def test_a_machine_stays_on_when_its_script_ended(machines: Machines, ec2: Ec2) -> None:
    key = ec2.launch("#!/bin/sh\necho end")
    rounds_until(machines, lambda: "end" in said(machines, key), "The script")
    machines.look()
    assert ec2.state(key) == "running"
    assert key in machines.up


def test_a_machine_that_shuts_down_is_terminated(machines: Machines, ec2: Ec2) -> None:
    key = ec2.launch("#!/bin/bash\ntrap 'echo bye' EXIT\nshutdown -h now\nwhile true; do sleep 0.1; done")
    rounds_until(machines, lambda: ec2.state(key) == "terminated", "The end")
    assert "bye" in said(machines, key)
    assert key not in machines.up


def test_the_timer_of_the_machine_ends_it_when_nothing_else_does(machines: Machines, ec2: Ec2, clock: Clock) -> None:
    key = ec2.launch("#!/bin/sh\nshutdown -h +240\necho set\nsleep 300")
    rounds_until(machines, lambda: "set" in said(machines, key), "The timer")
    clock.ahead = 239 * 60
    machines.look()
    assert ec2.state(key) == "running"
    clock.ahead = 241 * 60
    rounds_until(machines, lambda: ec2.state(key) == "terminated", "The end")


def test_a_timer_can_be_taken_back(machines: Machines, ec2: Ec2, clock: Clock) -> None:
    key = ec2.launch("#!/bin/sh\nshutdown -h +1\necho set\nsleep 1\nshutdown -c\necho taken\nsleep 300")
    rounds_until(machines, lambda: "taken" in said(machines, key), "The script")
    clock.ahead = 3600
    machines.look()
    assert ec2.state(key) == "running"


def test_a_machine_that_is_terminated_from_outside_ends_with_all_it_started(machines: Machines, ec2: Ec2) -> None:
    key = ec2.launch("#!/bin/bash\ntrap 'echo asked; exit' TERM\nsetsid sleep 300 &\necho up\nwait")
    rounds_until(machines, lambda: "up" in said(machines, key), "The script")
    ec2.ec2.terminate_instances(InstanceIds=[key])
    rounds_until(machines, lambda: key not in machines.up, "The end")
    assert "asked" in said(machines, key)
    assert belonging_to(machines.state) == {}


def test_a_launch_template_that_says_stop_stops(machines: Machines, ec2: Ec2) -> None:
    key = ec2.launch("#!/bin/sh\npoweroff", behavior="stop")
    rounds_until(machines, lambda: ec2.state(key) == "stopped", "The end")


def test_one_that_was_terminated_stays_so_whatever_its_own_shutdown_would_do(machines: Machines, ec2: Ec2) -> None:
    key = ec2.launch("#!/bin/sh\nsleep 600", behavior="stop")
    rounds_until(machines, lambda: key in machines.up, "The boot")
    ec2.ec2.terminate_instances(InstanceIds=[key])
    rounds_until(machines, lambda: key in machines.past, "The end")
    assert ec2.state(key) == "terminated"


def test_an_interruption_comes_with_its_notice_and_its_event(machines: Machines, ec2: Ec2, clock: Clock) -> None:
    key = ec2.launch("#!/bin/sh\necho up\nsleep 300")
    rounds_until(machines, lambda: "up" in said(machines, key), "The script")
    (machines.state / "machines" / key / "interrupt").touch()
    machines.look()
    notice = json.loads(machines.up[key].imds.get("meta-data/spot/instance-action") or "{}")
    assert notice["action"] == "terminate"
    sent = json.loads((machines.state / "events.jsonl").read_text())
    assert sent["detail_type"] == "EC2 Spot Instance Interruption Warning"
    assert sent["detail"] == {"instance-id": key, "instance-action": "terminate"}
    assert ec2.state(key) == "running"
    clock.ahead = 121
    rounds_until(machines, lambda: ec2.state(key) == "terminated" and key not in machines.up, "The end")


def test_a_notice_that_came_before_the_machine_was_up_is_there_when_it_is(machines: Machines, ec2: Ec2) -> None:
    key = ec2.launch("#!/bin/sh\nsleep 300")
    folder = machines.state / "machines" / key
    folder.mkdir(parents=True)
    (folder / "interrupt").touch()
    rounds_until(machines, lambda: key in machines.up and machines.up[key].facts.notice is not None, "The notice")


def test_a_rebalance_recommendation_takes_nothing_back(machines: Machines, ec2: Ec2, clock: Clock) -> None:
    key = ec2.launch("#!/bin/sh\necho up\nsleep 300")
    rounds_until(machines, lambda: "up" in said(machines, key), "The script")
    (machines.state / "machines" / key / "rebalance").touch()
    machines.look()
    imds = machines.up[key].imds
    assert set(json.loads(imds.get("meta-data/events/recommendations/rebalance") or "{}")) == {"noticeTime"}
    assert imds.get("meta-data/spot/instance-action") is None
    sent = json.loads((machines.state / "events.jsonl").read_text())
    assert sent["detail_type"] == "EC2 Instance Rebalance Recommendation"
    clock.ahead = 3600
    machines.look()
    assert ec2.state(key) == "running"


def test_no_more_than_four_are_up_at_once(machines: Machines, ec2: Ec2) -> None:
    keys = [ec2.launch("#!/bin/sh\nsleep 300") for _ in range(5)]
    machines.look()
    machines.look()
    assert len(machines.up) == 4
    waiting = next(key for key in keys if key not in machines.up)
    ec2.ec2.terminate_instances(InstanceIds=[next(iter(machines.up))])
    rounds_until(machines, lambda: waiting in machines.up, "The fifth")


def test_a_machine_has_the_credentials_of_its_role_and_they_are_held_to_its_policy(
    machines: Machines, ec2: Ec2, aws: Aws
) -> None:
    name, bucket = uuid.uuid4().hex, f"b-{uuid.uuid4().hex}"
    aws.client("s3").create_bucket(Bucket=bucket)
    iam = aws.client("iam")
    allow = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [allow]}))
    may = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/mine/*"}
    iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=json.dumps({"Statement": [may]}))
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    put = f"import boto3; boto3.client('s3', 'us-east-1').put_object(Bucket='{bucket}', Key=KEY)"
    script = "#!/bin/bash\n" + "".join(
        f'python3 -c "{put.replace("KEY", repr(key))}" 2>&1 | tail -1\n' for key in ("mine/a", "others/a")
    )
    key = ec2.launch(script + "echo end", profile=name)
    rounds_until(machines, lambda: "end" in said(machines, key), "The script")
    assert f"assumed-role/{name}/{key} is not authorized to perform: s3:PutObject" in said(machines, key)
    kept = aws.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert [entry["Key"] for entry in kept] == ["mine/a"]
