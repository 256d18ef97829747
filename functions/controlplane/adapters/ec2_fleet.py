"""Training machines: EC2 Fleet, type instant, over every pool of the stack's types and subnets.

docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateFleet.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ..domain.runs import Machine, Run
from ..ports import BadFleet, NoCapacity

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

NO_CAPACITY = {
    "InsufficientInstanceCapacity",
    "UnfulfillableCapacity",
    "InsufficientCapacityOnHost",
    "SpotMaxPriceTooLow",
    "MaxSpotInstanceCountExceeded",
    "VcpuLimitExceeded",
    "TargetCapacityLimitExceeded",
    "TargetCapacityLimitExceededException",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "Unsupported",
    "InsufficientFreeAddressesInSubnet",
    "InternalError",
    "Unavailable",
    "ServiceUnavailable",
}
ALIVE = ["pending", "running"]


class Ec2Fleet:
    def __init__(
        self,
        ec2: EC2Client,
        *,
        launch_template: str,
        version: str,
        subnets: Sequence[str],
        types: Sequence[str],
        stack: str,
    ) -> None:
        self._ec2, self._stack = ec2, stack
        self._template = {"LaunchTemplateId": launch_template, "Version": version}
        self._pools = [{"InstanceType": kind, "SubnetId": subnet} for kind in types for subnet in subnets]

    def launch(self, run: Run) -> Machine:
        tags = {
            "Name": f"tidegate {run.run_id}",
            "tidegate:run": run.run_id,
            "tidegate:stack": self._stack,
            "tidegate:attempt": str(run.attempt),
        }
        try:
            reply: Mapping[str, Any] = self._ec2.create_fleet(
                Type="instant",
                ClientToken=run.launch_token,
                SpotOptions={"AllocationStrategy": "price-capacity-optimized"},
                TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
                LaunchTemplateConfigs=[
                    {"LaunchTemplateSpecification": self._template, "Overrides": self._pools}  # type: ignore[typeddict-item]
                ],
                TagSpecifications=[
                    {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
                ],
            )
        except ClientError as fault:
            told = fault.response["Error"]
            if told["Code"] == "IdempotentParameterMismatch" and (known := self._known(run)):
                return known  # the stack changed between a launch and its record; the machine is there all the same
            if fault.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                raise NoCapacity(f"EC2 is in trouble ({told['Code']}): {told['Message']}") from fault
            raise _refusal(told["Code"], told["Message"]) from fault
        for group in reply.get("Instances", []):
            for machine_id in group["InstanceIds"]:
                return self._machine(machine_id, group)
        errors = reply.get("Errors", [])
        # Errors come one a pool: one that only lacked capacity may have a machine later, whatever ails the others.
        lacking = [error for error in errors if error["ErrorCode"] in NO_CAPACITY]
        nothing = {"ErrorCode": "UnfulfillableCapacity", "ErrorMessage": "no pool had a machine"}
        told = (lacking or errors or [nothing])[0]
        raise _refusal(told["ErrorCode"], told["ErrorMessage"])

    def _machine(self, machine_id: str, group: Mapping[str, Any]) -> Machine:
        described = self._describe([{"Name": "instance-id", "Values": [machine_id]}])
        zone = described[0].get("Placement", {}).get("AvailabilityZone") if described else None
        kind, lifecycle = group["InstanceType"], group.get("Lifecycle", "spot")
        return Machine(machine_id, kind, zone or "unknown", lifecycle, self._price(kind, zone) if zone else None)

    def _known(self, run: Run) -> Machine | None:
        wanted = {"tidegate:run": run.run_id, "tidegate:attempt": str(run.attempt), "tidegate:stack": self._stack}
        asked = [{"Name": f"tag:{key}", "Values": [value]} for key, value in wanted.items()]
        for machine in self._describe([*asked, {"Name": "instance-state-name", "Values": ALIVE}]):
            kind, zone = machine["InstanceType"], machine["Placement"]["AvailabilityZone"]
            lifecycle = machine.get("InstanceLifecycle", "on-demand")
            return Machine(machine["InstanceId"], kind, zone, lifecycle, self._price(kind, zone))
        return None

    def _price(self, kind: str, zone: str) -> float | None:
        """The Spot price now, in dollars per hour; None when EC2 does not tell one."""
        history = self._ec2.describe_spot_price_history(
            InstanceTypes=[kind],  # type: ignore[list-item]
            AvailabilityZone=zone,
            ProductDescriptions=["Linux/UNIX"],
            MaxResults=1,
        )["SpotPriceHistory"]
        return float(history[0]["SpotPrice"]) if history else None

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


def _refusal(code: str, message: str) -> NoCapacity | BadFleet:
    if code in NO_CAPACITY:
        return NoCapacity(f"No machine to be had now ({code}): {message}")
    return BadFleet(f"EC2 refused to start a machine ({code}): {message}. Mend the stack's parameters or permissions.")


def _tag(machine: Mapping[str, Any], key: str) -> str | None:
    return next((tag["Value"] for tag in machine.get("Tags", []) if tag["Key"] == key), None)
