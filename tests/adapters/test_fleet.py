"""EC2 Fleet: one machine a token, and which refusals are worth another try."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.stub import Stubber
from controlplane.adapters.ec2_fleet import Ec2Fleet
from controlplane.domain.pools import Ask, pools_of
from controlplane.domain.refusals import Refusal
from controlplane.domain.runs import Machine, Run
from controlplane.ports import LaunchRefused

from tests.flows.fakes import NOON

POOLS = pools_of(["c6i.large", "m5.large"], ["s-a", "s-b"])
RUN = Run("films-1", "films", "sha256:0", NOON).claimed(NOON, Ask("spot", POOLS))
ONE = {"Filters": [{"Name": "instance-id", "Values": ["i-1"]}]}
TAGS = [{"Key": "tidegate:stack", "Value": "ours"}, {"Key": "tidegate:run", "Value": "films-1"}]
IN_ZONE = {"Placement": {"AvailabilityZone": "us-east-1a"}, "SubnetId": "s-a"}


@pytest.fixture
def ec2(stubbed: Callable[[str], tuple[Any, Stubber]]) -> tuple[Any, Stubber]:
    return stubbed("ec2")


def fleet(client: Any) -> Ec2Fleet:
    return Ec2Fleet(client, launch_template="lt-1", version="3", stack="ours")


def described(*machines: dict[str, Any]) -> dict[str, Any]:
    return {"Reservations": [{"Instances": [machine]} for machine in machines]}


def granted(stub: Stubber, asked: dict[str, Any] | None = None, lifecycle: str = "spot") -> None:
    place = {"Overrides": {"InstanceType": "c6i.large", "SubnetId": "s-b"}}
    group = {"InstanceIds": ["i-1"], "InstanceType": "c6i.large", "Lifecycle": lifecycle}
    stub.add_response("create_fleet", {"Instances": [{**group, "LaunchTemplateAndOverrides": place}]}, asked)


def question(**more: Any) -> dict[str, Any]:
    return {
        "Type": "instant",
        "ClientToken": "films-1-1",
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {"LaunchTemplateId": "lt-1", "Version": "3"},
                "Overrides": [
                    {"InstanceType": kind, "SubnetId": subnet}
                    for kind in ("c6i.large", "m5.large")
                    for subnet in ("s-a", "s-b")
                ],
            }
        ],
        "TagSpecifications": [
            {
                "ResourceType": "instance",
                "Tags": [
                    {"Key": "Name", "Value": "tidegate films-1"},
                    {"Key": "tidegate:run", "Value": "films-1"},
                    {"Key": "tidegate:stack", "Value": "ours"},
                    {"Key": "tidegate:attempt", "Value": "1"},
                ],
            }
        ],
        **more,
    }


class TestLaunch:
    def test_it_asks_for_one_spot_machine_over_all_pools_with_the_runs_token(self, ec2: tuple[Any, Stubber]) -> None:
        client, stub = ec2
        spot = question(
            SpotOptions={"AllocationStrategy": "price-capacity-optimized"},
            TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
        )
        granted(stub, spot)
        stub.add_response("describe_instances", described(IN_ZONE), ONE)
        assert fleet(client).launch(RUN) == Machine("i-1", "c6i.large", "us-east-1a", "spot", "s-a")

    def test_on_demand_it_asks_the_same_pools_and_the_cheapest_is_taken(self, ec2: tuple[Any, Stubber]) -> None:
        client, stub = ec2
        on_demand = question(
            OnDemandOptions={"AllocationStrategy": "lowest-price"},
            TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"},
        )
        granted(stub, on_demand, lifecycle="on-demand")
        stub.add_response("describe_instances", described(IN_ZONE), ONE)
        run = replace(RUN, ask=Ask("on-demand", POOLS))
        machine = fleet(client).launch(run)
        assert (machine.lifecycle, machine.zone, machine.subnet) == ("on-demand", "us-east-1a", "s-a")

    @pytest.mark.parametrize(
        ("subnets", "zone"), [([{"AvailabilityZone": "us-east-1b"}], "us-east-1b"), ([], "unknown")]
    )
    def test_a_machine_that_ec2_does_not_show_yet_is_in_the_zone_of_its_subnet(
        self, ec2: tuple[Any, Stubber], subnets: list[dict[str, str]], zone: str
    ) -> None:
        client, stub = ec2
        granted(stub)
        stub.add_response("describe_instances", described(), ONE)
        stub.add_response("describe_subnets", {"Subnets": subnets}, {"SubnetIds": ["s-b"]})
        assert fleet(client).launch(RUN) == Machine("i-1", "c6i.large", zone, "spot", "s-b")

    def test_what_each_pool_answered_is_told(self, ec2: tuple[Any, Stubber]) -> None:
        client, stub = ec2
        codes = ("InsufficientInstanceCapacity", "SpotMaxPriceTooLow")
        told = [
            {
                "ErrorCode": code,
                "ErrorMessage": "none here",
                "LaunchTemplateAndOverrides": {
                    "Overrides": {"InstanceType": pool.machine_type, "SubnetId": pool.subnet}
                },
            }
            for code, pool in zip(codes, POOLS, strict=False)
        ]
        told.append({"ErrorCode": "Unsupported", "ErrorMessage": "not in this zone"})
        stub.add_response("create_fleet", {"Instances": [], "Errors": told})
        with pytest.raises(LaunchRefused) as refused:
            fleet(client).launch(RUN)
        assert refused.value.refusals == (
            Refusal("InsufficientInstanceCapacity", "none here", POOLS[0]),
            Refusal("SpotMaxPriceTooLow", "none here", POOLS[1]),
            Refusal("Unsupported", "not in this zone"),
        )

    @pytest.mark.parametrize(("code", "status"), [("UnauthorizedOperation", 403), ("SomethingNew", 500)])
    def test_a_refusal_of_the_whole_request_is_told(self, ec2: tuple[Any, Stubber], code: str, status: int) -> None:
        client, stub = ec2
        stub.add_client_error("create_fleet", code, "not now", http_status_code=status)
        with pytest.raises(LaunchRefused) as refused:
            fleet(client).launch(RUN)
        assert refused.value.refusals == (Refusal(code, "not now", server_fault=status >= 500),)

    def test_a_machine_that_was_had_before_the_stack_changed_is_found_by_its_tags(
        self, ec2: tuple[Any, Stubber]
    ) -> None:
        client, stub = ec2
        stub.add_client_error("create_fleet", "IdempotentParameterMismatch", "another question", http_status_code=400)
        there = {**IN_ZONE, "InstanceId": "i-7", "InstanceType": "m5.large"}
        stub.add_response("describe_instances", described(there))
        assert fleet(client).launch(RUN) == Machine("i-7", "m5.large", "us-east-1a", "on-demand", "s-a")


class TestMachines:
    def test_the_stacks_machines_that_live(self, ec2: tuple[Any, Stubber]) -> None:
        client, stub = ec2
        stub.add_response(
            "describe_instances",
            described({"InstanceId": "i-1", "LaunchTime": NOON, "Tags": TAGS}),
            {
                "Filters": [
                    {"Name": "tag:tidegate:stack", "Values": ["ours"]},
                    {"Name": "instance-state-name", "Values": ["pending", "running"]},
                ]
            },
        )
        assert fleet(client).machines() == {"i-1": ("films-1", NOON)}

    @pytest.mark.parametrize(
        ("reply", "run"),
        [
            (described({"InstanceId": "i-1", "Tags": TAGS}), "films-1"),
            (described(), None),
            (described({"InstanceId": "i-1", "Tags": []}), None),
            (described({"InstanceId": "i-1"}), None),
            (described({"InstanceId": "i-1", "Tags": [{"Key": "tidegate:stack", "Value": "another"}, TAGS[1]]}), None),
        ],
    )
    def test_the_run_of_a_machine_is_told_for_our_own_alone(
        self, ec2: tuple[Any, Stubber], reply: dict[str, Any], run: str | None
    ) -> None:
        client, stub = ec2
        stub.add_response("describe_instances", reply, ONE)
        assert fleet(client).run_of("i-1") == run

    def test_a_machine_is_ended(self, ec2: tuple[Any, Stubber]) -> None:
        client, stub = ec2
        stub.add_response("terminate_instances", {}, {"InstanceIds": ["i-1"]})
        fleet(client).end("i-1")
