"""Training machines: EC2 Fleet, type instant, over the pools that the attempt asks; Spot or on-demand.

docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateFleet.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ..domain.pools import SPOT, Pool
from ..domain.refusals import Refusal
from ..domain.runs import Machine, Run
from ..ports import LaunchRefused

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

ALIVE = ["pending", "running"]


class Ec2Fleet:
    def __init__(self, ec2: EC2Client, *, launch_template: str, version: str, stack: str) -> None:
        self._ec2, self._stack = ec2, stack
        self._template = {"LaunchTemplateId": launch_template, "Version": version}

    def launch(self, run: Run) -> Machine:
        tags = {
            "Name": f"tidegate {run.run_id}",
            "tidegate:run": run.run_id,
            "tidegate:stack": self._stack,
            "tidegate:attempt": str(run.attempt),
        }
        pools = [{"InstanceType": pool.machine_type, "SubnetId": pool.subnet} for pool in run.ask.pools]
        try:
            reply: Mapping[str, Any] = self._ec2.create_fleet(
                Type="instant",
                ClientToken=run.launch_token,
                TargetCapacitySpecification={
                    "TotalTargetCapacity": 1,
                    "DefaultTargetCapacityType": run.ask.lifecycle,  # type: ignore[typeddict-item]
                },
                LaunchTemplateConfigs=[
                    {"LaunchTemplateSpecification": self._template, "Overrides": pools}  # type: ignore[typeddict-item]
                ],
                TagSpecifications=[
                    {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
                ],
                **_strategy(run.ask.lifecycle),
            )
        except ClientError as fault:
            told = fault.response["Error"]
            if told["Code"] == "IdempotentParameterMismatch" and (known := self._known(run)):
                return known  # the stack changed between a launch and its record; the machine is there all the same
            theirs = fault.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
            raise LaunchRefused([Refusal(told["Code"], told["Message"], server_fault=theirs)]) from fault
        for group in reply.get("Instances", []):
            for machine_id in group["InstanceIds"]:
                return self._machine(machine_id, group, group.get("Lifecycle", run.ask.lifecycle))
        raise LaunchRefused(
            [Refusal(told["ErrorCode"], told["ErrorMessage"], _pool(told)) for told in reply.get("Errors", [])]
        )

    def _machine(self, machine_id: str, group: Mapping[str, Any], lifecycle: str) -> Machine:
        """EC2 may not show a machine yet that it has just started."""
        kind = group["InstanceType"]
        for machine in self._describe([{"Name": "instance-id", "Values": [machine_id]}]):
            return self._seen({**machine, "InstanceId": machine_id, "InstanceType": kind}, lifecycle)
        pool = _pool(group)
        subnet = pool.subnet if pool else ""
        return Machine(machine_id, kind, self._zone_of(subnet), lifecycle, subnet)

    def _zone_of(self, subnet: str) -> str:
        found = self._ec2.describe_subnets(SubnetIds=[subnet])["Subnets"] if subnet else []
        return found[0]["AvailabilityZone"] if found else "unknown"

    def _known(self, run: Run) -> Machine | None:
        wanted = {"tidegate:run": run.run_id, "tidegate:attempt": str(run.attempt), "tidegate:stack": self._stack}
        asked = [{"Name": f"tag:{key}", "Values": [value]} for key, value in wanted.items()]
        for machine in self._describe([*asked, {"Name": "instance-state-name", "Values": ALIVE}]):
            return self._seen(machine, machine.get("InstanceLifecycle", "on-demand"))
        return None

    def _seen(self, machine: Mapping[str, Any], lifecycle: str) -> Machine:
        kind, zone = machine["InstanceType"], machine["Placement"]["AvailabilityZone"]
        return Machine(machine["InstanceId"], kind, zone, lifecycle, machine.get("SubnetId", ""))

    def machines(self) -> Mapping[str, tuple[str, datetime]]:
        alive = self._describe(
            [
                {"Name": "tag:tidegate:stack", "Values": [self._stack]},
                {"Name": "instance-state-name", "Values": ALIVE},
            ]
        )
        return {
            machine["InstanceId"]: (_tag(machine, "tidegate:run") or "no run", machine["LaunchTime"])
            for machine in alive
        }

    def run_of(self, machine_id: str) -> str | None:
        for machine in self._describe([{"Name": "instance-id", "Values": [machine_id]}]):
            if _tag(machine, "tidegate:stack") == self._stack:
                return _tag(machine, "tidegate:run")
        return None

    def end(self, machine_id: str) -> None:
        self._ec2.terminate_instances(InstanceIds=[machine_id])

    def _describe(self, filters: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
        pages = self._ec2.get_paginator("describe_instances").paginate(Filters=filters)  # type: ignore[arg-type]
        return [machine for page in pages for group in page["Reservations"] for machine in group["Instances"]]


def _strategy(lifecycle: str) -> Any:
    if lifecycle == SPOT:
        return {"SpotOptions": {"AllocationStrategy": "price-capacity-optimized"}}
    return {"OnDemandOptions": {"AllocationStrategy": "lowest-price"}}


def _pool(told: Mapping[str, Any]) -> Pool | None:
    """The pool that an answer is about, where it says so."""
    place = told.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
    kind, subnet = place.get("InstanceType"), place.get("SubnetId")
    return Pool(kind, subnet) if kind and subnet else None


def _tag(machine: Mapping[str, Any], key: str) -> str | None:
    return next((tag["Value"] for tag in machine.get("Tags", []) if tag["Key"] == key), None)
