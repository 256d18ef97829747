from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import capacity
from local.account import SPOT_ROLE, SPOT_ROLE_PATH, use_spot_once
from local.aws import Aws
from local.capacity import BadRefusal, Refusal


@pytest.fixture
def template(aws: Aws) -> str:
    ec2 = aws.client("ec2")
    made = ec2.create_launch_template(LaunchTemplateName=uuid.uuid4().hex, LaunchTemplateData={"ImageId": "ami-1"})
    return str(made["LaunchTemplate"]["LaunchTemplateId"])


@pytest.fixture
def subnets(aws: Aws) -> dict[str, str]:
    """Zone to subnet."""
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    return {
        zone: ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.8.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"][
            "SubnetId"
        ]
        for n, zone in enumerate("ab")
    }


@pytest.fixture
def refuse(emulator_state: Path) -> Iterator[Any]:
    yield lambda *refusals: capacity.write(emulator_state, [Refusal.of(text) for text in refusals])
    (emulator_state / capacity.FILE).unlink(missing_ok=True)


def fleet(aws: Aws, template: str, subnets: dict[str, str], *types: str, lifecycle: str = "spot", **more: str) -> Any:
    spec = {"LaunchTemplateId": template, "Version": "$Latest"}
    overrides = [{"InstanceType": kind, "SubnetId": subnet} for kind in types for subnet in subnets.values()]
    return aws.client("ec2").create_fleet(
        Type="instant",
        LaunchTemplateConfigs=[{"LaunchTemplateSpecification": spec, "Overrides": overrides}],
        TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": lifecycle},
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "tidegate:run", "Value": "r1"}]}],
        **more,
    )


def launched(aws: Aws, made: Any) -> tuple[str, str, str]:
    """Type, zone and lifecycle of the one machine."""
    [group] = made["Instances"]
    found = aws.client("ec2").describe_instances(InstanceIds=group["InstanceIds"])["Reservations"][0]["Instances"][0]
    lifecycle = found.get("InstanceLifecycle", "on-demand")
    return found["InstanceType"], found["Placement"]["AvailabilityZone"], lifecycle


def test_the_cheapest_pool_gives_the_machine(aws: Aws, template: str, subnets: dict[str, str]) -> None:
    made = fleet(aws, template, subnets, "m5.large", "c6a.large", "c6i.large")
    assert launched(aws, made) == ("c6a.large", "us-east-1a", "spot")
    assert made["Errors"] == []
    of = made["Instances"][0]["LaunchTemplateAndOverrides"]["Overrides"]
    assert (of["InstanceType"], of["SubnetId"]) == ("c6a.large", subnets["a"])


def test_on_demand_goes_by_its_own_price(aws: Aws, template: str, subnets: dict[str, str]) -> None:
    made = fleet(aws, template, subnets, "c6a.large", "c5.large", lifecycle="on-demand")
    assert launched(aws, made)[::2] == ("c6a.large", "on-demand")


def test_a_refused_pool_is_told_and_another_gives_the_machine(
    aws: Aws, template: str, subnets: dict[str, str], refuse: Any
) -> None:
    refuse("spot:c6a.*:*:InsufficientInstanceCapacity", "*:m5.large:*b:VcpuLimitExceeded")
    made = fleet(aws, template, subnets, "c6a.large", "m5.large")
    assert launched(aws, made) == ("m5.large", "us-east-1a", "spot")
    told = {
        (
            error["LaunchTemplateAndOverrides"]["Overrides"]["InstanceType"],
            error["LaunchTemplateAndOverrides"]["Overrides"]["SubnetId"],
        ): error["ErrorCode"]
        for error in made["Errors"]
    }
    assert told == {
        ("c6a.large", subnets["a"]): "InsufficientInstanceCapacity",
        ("c6a.large", subnets["b"]): "InsufficientInstanceCapacity",
        ("m5.large", subnets["b"]): "VcpuLimitExceeded",
    }
    [first, *_] = made["Errors"]
    assert first["Lifecycle"] == "spot" and "capacity of c6a.large in us-east-1a" in first["ErrorMessage"]
    assert first["LaunchTemplateAndOverrides"]["LaunchTemplateSpecification"]["LaunchTemplateId"] == template


def test_where_no_pool_is_left_there_is_a_fleet_without_a_machine(
    aws: Aws, template: str, subnets: dict[str, str], refuse: Any
) -> None:
    refuse("spot:*:*:InsufficientInstanceCapacity")
    made = fleet(aws, template, subnets, "c6a.large", "m5.large")
    assert made["FleetId"] and made["Instances"] == [] and len(made["Errors"]) == 4
    on_demand = fleet(aws, template, subnets, "c6a.large", lifecycle="on-demand")
    assert launched(aws, on_demand)[2] == "on-demand"


def test_a_refusal_is_an_answer_that_uses_its_token_up(
    aws: Aws, template: str, subnets: dict[str, str], refuse: Any
) -> None:
    token = uuid.uuid4().hex
    refuse("*:*:*:InsufficientInstanceCapacity")
    refused = fleet(aws, template, subnets, "c6a.large", ClientToken=token)
    refuse()
    again = fleet(aws, template, subnets, "c6a.large", ClientToken=token)
    assert again["FleetId"] == refused["FleetId"] and again["Instances"] == []
    assert launched(aws, fleet(aws, template, subnets, "c6a.large", ClientToken=uuid.uuid4().hex))


@pytest.mark.parametrize("text", ["spot", "spot:*:*", "cheap:*:*:X", "spot:*:*:", "spot:*:*:a:b"])
def test_what_is_no_refusal_says_how_one_is_written(text: str) -> None:
    with pytest.raises(BadRefusal, match="spot:\\*:\\*:InsufficientInstanceCapacity"):
        Refusal.of(text)


def test_the_account_has_quotas_as_aws_tells_them(aws: Aws) -> None:
    quotas = aws.client("service-quotas")
    told = quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-34B43A08")["Quota"]
    assert told["QuotaName"].startswith("All Standard") and told["Value"] > 0
    with pytest.raises(quotas.exceptions.NoSuchResourceException):
        quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-00000000")


def test_an_account_that_used_spot_before_has_its_role(aws: Aws) -> None:
    iam = aws.client("iam")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName=SPOT_ROLE)
    use_spot_once(aws)
    assert iam.get_role(RoleName=SPOT_ROLE)["Role"]["Arn"].endswith(f"{SPOT_ROLE_PATH}{SPOT_ROLE}")
