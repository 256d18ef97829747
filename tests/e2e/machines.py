"""Training machines as the end-to-end tests handle them: their processes, their variants, their ends."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.processes import belonging_to
from tests.e2e.stack import Stack

TIMER = "shutdown -h +"


def states(stack: Stack, run_id: str) -> list[str]:
    found = stack.cloud.client("ec2").describe_instances(Filters=[{"Name": "tag:tidegate:run", "Values": [run_id]}])
    return [machine["State"]["Name"] for group in found["Reservations"] for machine in group["Instances"]]


def state(stack: Stack, machine: str) -> str:
    found = stack.cloud.client("ec2").describe_instances(InstanceIds=[machine])
    return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])


def trainer_of(stack: Stack, run_id: str, attempt: int) -> int | None:
    """The process id of the trainer that works on this attempt."""
    wanted = {f"TIDEGATE_RUN={run_id}".encode(), f"TIDEGATE_ATTEMPT={attempt}".encode()}
    for pid, line in belonging_to(stack.cloud.state).items():
        if line.endswith("-m trainer") and wanted <= set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")):
            return pid
    return None


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def template(stack: Stack) -> dict[str, Any]:
    """The launch template's data, as deployed; the user data as text."""
    found = stack.cloud.client("ec2").describe_launch_template_versions(
        LaunchTemplateId=stack.physical["MachineTemplate"], Versions=["$Latest"]
    )
    data = dict(found["LaunchTemplateVersions"][0]["LaunchTemplateData"])
    options = {key: value for key, value in data["MetadataOptions"].items() if key != "State"}  # only told, never said
    return {**data, "MetadataOptions": options, "UserData": base64.b64decode(data["UserData"]).decode()}


def variant(stack: Stack, name: str, script: Callable[[str], str], **more: Any) -> str:
    """A machine by the stack's own template, but for its script and what `more` says."""
    ec2, known = stack.cloud.client("ec2"), template(stack)
    data = {**known, **more, "UserData": base64.b64encode(script(known["UserData"]).encode()).decode()}
    data = {key: value for key, value in data.items() if key not in {"NetworkInterfaces", "BlockDeviceMappings"}}
    made = ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)["LaunchTemplate"]
    tags = {"tidegate:run": name, "tidegate:attempt": "1", "tidegate:stack": stack.cloud.stack}
    fleet = ec2.create_fleet(
        Type="instant",
        LaunchTemplateConfigs=[
            {
                "LaunchTemplateSpecification": {"LaunchTemplateId": made["LaunchTemplateId"], "Version": "$Latest"},
                "Overrides": [{"InstanceType": "c6i.large", "SubnetId": stack.physical["SubnetA"]}],
            }
        ],
        TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        ],
    )
    return str(fleet["Instances"][0]["InstanceIds"][0])


def console(stack: Stack, machine: str) -> str:
    log = stack.cloud.state / "machines" / machine / "console.log"
    return log.read_text(errors="replace") if log.exists() else ""
