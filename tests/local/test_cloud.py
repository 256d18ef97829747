"""The whole local cloud with a small stack: what it adds, end to end. Marked e2e: it starts and deploys for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.cloud import Cloud, CloudFault
from local.inbox import messages
from local.machine import console
from local.processes import belonging_to, free_port, port_open, wait_until
from local.sam import DeployFault

ROOT = Path(__file__).resolve().parents[2]
SMALL = Path(__file__).with_name("small") / "template.yaml"
RUNTIME = {"Runtime": f"python3.{sys.version_info.minor}"}

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    os.environ["TIDEGATE_NOTICE_SECONDS"] = "2"
    with Cloud(state=tmp_path_factory.mktemp("cloud"), port=free_port(), stack="small") as cloud:
        del os.environ["TIDEGATE_NOTICE_SECONDS"]
        result = cloud.deploy(SMALL, RUNTIME)
        assert result.deployed > 10
        assert [entry.resource for entry in result.left_out] == ["Target"]
        yield cloud


def launch(cloud: Cloud, run: str) -> str:
    spec = {"LaunchTemplateId": cloud.outputs()["Template"], "Version": "$Latest"}
    made = cloud.client("ec2").create_fleet(
        Type="instant",
        ClientToken=run,
        LaunchTemplateConfigs=[{"LaunchTemplateSpecification": spec, "Overrides": [{"InstanceType": "c6i.large"}]}],
        TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "tidegate:run", "Value": run}]}],
    )
    return str(made["Instances"][0]["InstanceIds"][0])


def seen(cloud: Cloud, detail_type: str) -> list[dict[str, Any]]:
    """The details of the events that went over rule, queue and function into the bucket."""
    s3, bucket = cloud.client("s3"), cloud.outputs()["BucketName"]
    kept = s3.list_objects_v2(Bucket=bucket, Prefix=f"allowed/{detail_type}/").get("Contents", [])
    return [json.loads(s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read())["detail"] for entry in kept]


def test_an_unchanged_stack_deploys_again_with_no_change(cloud: Cloud) -> None:
    before = cloud.outputs()
    cloud.deploy(SMALL, RUNTIME)
    assert cloud.outputs() == before


def test_a_machine_works_with_its_role_and_its_life_reaches_the_function(cloud: Cloud) -> None:
    key = launch(cloud, "works")

    def states() -> list[str]:
        mine = [d for d in seen(cloud, "EC2 Instance State-change Notification") if d["instance-id"] == key]
        return sorted(detail["state"] for detail in mine)

    wait_until(lambda: len(states()) == 4, 40, "The four events")
    assert states() == ["pending", "running", "shutting-down", "terminated"]
    said = console(cloud.state / "machines" / key)
    assert "keys in the environment: 0" in said
    assert "is not authorized to perform: s3:PutObject" in said
    assert "finished works" in said
    cloud.client("s3").head_object(Bucket=cloud.outputs()["BucketName"], Key="machine/works")


def test_an_interrupted_machine_is_warned_and_then_taken_back(cloud: Cloud) -> None:
    key = launch(cloud, "waits")
    wait_until((cloud.state / "machines" / key / "home" / "waiting").exists, 30, "The machine's work")
    assert cloud.interrupt("waits") == key
    wait_until(lambda: all(machine.id != key for machine in cloud.machines()), 30, "The end of the machine")
    wait_until(lambda: bool(seen(cloud, "EC2 Spot Instance Interruption Warning")), 30, "The warning")
    assert seen(cloud, "EC2 Spot Instance Interruption Warning") == [
        {"instance-id": key, "instance-action": "terminate"}
    ]


def test_only_a_machine_that_runs_can_be_interrupted(cloud: Cloud) -> None:
    with pytest.raises(CloudFault, match="No machine is running for nobody"):
        cloud.interrupt("nobody")


def test_an_alarm_reaches_the_function(cloud: Cloud) -> None:
    name = cloud.outputs()["AlarmName"]
    cloud.alarm(name, "ALARM", "tried")
    wait_until(lambda: bool(seen(cloud, "CloudWatch Alarm State Change")), 30, "The alarm's event")
    detail = seen(cloud, "CloudWatch Alarm State Change")[0]
    assert (detail["alarmName"], detail["state"]["value"], detail["state"]["reason"]) == (name, "ALARM", "tried")


def test_what_sns_publishes_is_in_the_inbox(cloud: Cloud) -> None:
    sns, topic = cloud.client("sns"), cloud.outputs()["Topic"]

    def confirmed() -> bool:
        found = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        return any(entry["SubscriptionArn"].startswith("arn:") for entry in found)

    wait_until(confirmed, 20, "The subscription")
    sns.publish(TopicArn=topic, Subject="Hello", Message="Why: ñ")
    wait_until(lambda: bool(messages(cloud.state / "inbox")), 20, "The message")
    kept = messages(cloud.state / "inbox")[0]
    assert (kept["subject"], kept["body"]) == ("Hello", "Why: ñ")


def test_the_settings_for_a_shell_name_what_a_person_needs(cloud: Cloud) -> None:
    settings = cloud.environment()
    assert settings["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{cloud.port}"
    assert settings["BUCKET"] == cloud.outputs()["BucketName"]


def test_a_failed_deploy_says_which_resource_and_why_and_the_next_one_goes_on(cloud: Cloud, tmp_path: Path) -> None:
    broken = tmp_path / "template.yaml"
    broken.write_text(
        "Resources:\n  Slow:\n    Type: AWS::CloudWatch::Alarm\n"
        "    Properties:\n      MetricName: m\n      Namespace: n\n      EvaluationPeriods: 1\n"
        "      ComparisonOperator: GreaterThanThreshold\n"
    )
    other = Cloud(state=cloud.state, stack="broken")
    with pytest.raises(DeployFault, match=r"Slow \(AWS::CloudWatch::Alarm\): Threshold is required"):
        other.deploy(broken)
    broken.write_text(broken.read_text() + "      Threshold: 1\n")
    assert other.deploy(broken).deployed == 1


def test_starting_it_again_does_no_harm(cloud: Cloud) -> None:
    same = Cloud(state=cloud.state)
    same.start()
    assert same.facts()["pid"] == cloud.facts()["pid"]


def run_local(state: Path, port: int, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TIDEGATE_PORT": str(port), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "local", "--state", str(state), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)


def test_down_leaves_no_process_and_no_port(tmp_path: Path) -> None:
    port = free_port()
    cloud = Cloud(state=tmp_path, port=port).start()
    assert json.loads(run_local(tmp_path, port, "status", "--json").stdout)["phase"] == "ready"
    done = run_local(tmp_path, port, "down")
    assert (done.returncode, done.stderr) == (0, "")
    assert (belonging_to(tmp_path), port_open(port)) == ({}, False)
    assert cloud.stop() == []  # nothing left to do, and again does no harm


def test_a_killed_supervisor_leaves_nothing_either(tmp_path: Path) -> None:
    cloud = Cloud(state=tmp_path, port=free_port()).start()
    os.kill(cloud.facts()["pid"], signal.SIGKILL)
    wait_until(lambda: belonging_to(tmp_path) == {} and not port_open(cloud.port), 10, "The end of all parts")
    assert not cloud.running()
    assert cloud.stop() == []
    assert not Path(cloud.facts()["engine_socket"]).parent.exists()


def test_a_part_that_dies_ends_the_cloud_with_its_reason(tmp_path: Path) -> None:
    cloud = Cloud(state=tmp_path, port=free_port()).start()
    os.kill(cloud.facts()["parts"]["events"], signal.SIGKILL)
    wait_until(lambda: not cloud.running(), 20, "The end")
    assert cloud.facts()["phase"] == "failed"
    assert "The part 'events' ended by itself" in cloud.facts()["reason"]
    assert cloud.stop() == []


def test_a_taken_port_is_said_before_anything_starts(cloud: Cloud, tmp_path: Path) -> None:
    with pytest.raises(CloudFault, match=f"Port {cloud.port} is in use by something else"):
        Cloud(state=tmp_path, port=cloud.port).start()


def test_ending_what_does_not_run_is_well_even_where_somebody_else_has_the_port(cloud: Cloud, tmp_path: Path) -> None:
    assert run_local(tmp_path, cloud.port, "down").returncode == 0


def test_a_port_that_is_none_is_said(tmp_path: Path) -> None:
    environment = {**os.environ, "TIDEGATE_PORT": "soon", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "local", "--state", str(tmp_path), "status"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("TIDEGATE_PORT is 'soon'. Give a port")


def test_a_command_without_a_cloud_says_how_to_start_one(tmp_path: Path) -> None:
    done = run_local(tmp_path, free_port(), "env")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "The local cloud is not running. Run: make up\n"
