"""EC2 Fleet: one machine a token, and which refusals are worth another try."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.stub import Stubber
from controlplane.adapters.ec2_fleet import Ec2Fleet
from controlplane.domain.runs import Machine, Run
from controlplane.ports import BadFleet, NoCapacity

from tests.flows.fakes import NOON

RUN = Run("films-1", "films", "sha256:0", NOON).claimed(NOON)
ONE = {"Filters": [{"Name": "instance-id", "Values": ["i-1"]}]}
TAGS = [{"Key": "tidegate:stack", "Value": "ours"}, {"Key": "tidegate:run", "Value": "films-1"}]


@pytest.fixture
def ec2(stubbed: Callable[[str], tuple[Any, Stubber]]) -> tuple[Any, Stubber]:
    return stubbed("ec2")


def fleet(client: Any) -> Ec2Fleet:
    return Ec2Fleet(
        client,
        launch_template="lt-1",
        version="3",
        subnets=["s-a", "s-b"],
        types=["c6i.large", "m5.large"],
        stack="ours",
    )


def described(*machines: dict[str, Any]) -> dict[str, Any]:
    return {"Reservations": [{"Instances": [machine]} for machine in machines]}


def granted(stub: Stubber, asked: dict[str, Any] | None = None) -> None:
    reply = {"Instances": [{"InstanceIds": ["i-1"], "InstanceType": "c6i.large", "Lifecycle": "spot"}]}
    stub.add_response("create_fleet", reply, asked)


class TestLaunch:
    def test_it_asks_for_one_spot_machine_over_all_pools_with_the_runs_token(self, ec2: tuple[Any, Stubber]) -> None:
        client, stub = ec2
        granted(
            stub,
            {
                "Type": "instant",
                "ClientToken": "films-1-1",
                "SpotOptions": {"AllocationStrategy": "price-capacity-optimized"},
                "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
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
            },
        )
        stub.add_response("describe_instances", described({"Placement": {"AvailabilityZone": "us-east-1a"}}), ONE)
        stub.add_response(
            "describe_spot_price_history",
            {"SpotPriceHistory": [{"SpotPrice": "0.0412"}]},
            {
                "InstanceTypes": ["c6i.large"],
                "AvailabilityZone": "us-east-1a",
                "ProductDescriptions": ["Linux/UNIX"],
                "MaxResults": 1,
            },
        )
        assert fleet(client).launch(RUN) == Machine("i-1", "c6i.large", "us-east-1a", "spot", 0.0412)

    def test_a_machine_that_ec2_does_not_show_yet_has_no_zone_and_no_price(self, ec2: tuple[Any, Stubber]) -> None:
        client, stub = ec2
        granted(stub)
        stub.add_response("describe_instances", described(), ONE)
        assert fleet(client).launch(RUN) == Machine("i-1", "c6i.large", "unknown", "spot", None)

    def test_a_price_that_is_not_told_is_none(self, ec2: tuple[Any, Stubber]) -> None:
        client, stub = ec2
        granted(stub)
        stub.add_response("describe_instances", described({"Placement": {"AvailabilityZone": "us-east-1a"}}), ONE)
        stub.add_response("describe_spot_price_history", {"SpotPriceHistory": []})
        assert fleet(client).launch(RUN).price is None

    @pytest.mark.parametrize(
        "errors", [[], ["InsufficientInstanceCapacity"], ["UnfulfillableCapacity", "SpotMaxPriceTooLow"]]
    )
    def test_pools_without_a_machine_are_worth_another_try(self, ec2: tuple[Any, Stubber], errors: list[str]) -> None:
        client, stub = ec2
        told = [{"ErrorCode": code, "ErrorMessage": "none here"} for code in errors]
        stub.add_response("create_fleet", {"Instances": [], "Errors": told})
        with pytest.raises(NoCapacity, match="No machine to be had now"):
            fleet(client).launch(RUN)

    @pytest.mark.parametrize(
        ("code", "status"),
        [
            ("RequestLimitExceeded", 503),
            ("InternalError", 500),
            ("Unavailable", 503),
            ("MaxSpotInstanceCountExceeded", 400),
            ("VcpuLimitExceeded", 400),
            ("Throttling", 400),
            ("SomethingNew", 500),
        ],
    )
    def test_what_passes_by_itself_is_worth_another_try(self, ec2: tuple[Any, Stubber], code: str, status: int) -> None:
        client, stub = ec2
        stub.add_client_error("create_fleet", code, "not now", http_status_code=status)
        with pytest.raises(NoCapacity, match="not now"):
            fleet(client).launch(RUN)

    @pytest.mark.parametrize("code", ["UnauthorizedOperation", "InvalidSubnetID.NotFound", "InvalidAMIID.NotFound"])
    def test_what_a_person_has_to_mend_says_so(self, ec2: tuple[Any, Stubber], code: str) -> None:
        client, stub = ec2
        stub.add_client_error("create_fleet", code, "the reason", http_status_code=400)
        with pytest.raises(BadFleet, match=f"{code}.*the reason.*Mend"):
            fleet(client).launch(RUN)

    def test_a_pool_that_is_refused_for_good_says_so_too(self, ec2: tuple[Any, Stubber]) -> None:
        client, stub = ec2
        told = [{"ErrorCode": "InvalidLaunchTemplateId.NotFound", "ErrorMessage": "no lt-1"}]
        stub.add_response("create_fleet", {"Instances": [], "Errors": told})
        with pytest.raises(BadFleet, match="no lt-1"):
            fleet(client).launch(RUN)


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
