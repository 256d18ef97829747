"""What EC2's refusals mean, and what people are told to do."""

from __future__ import annotations

import pytest
from controlplane.domain.account import Preconditions, Quota, lacking
from controlplane.domain.pools import Pool
from controlplane.domain.refusals import KINDS, WHAT_TO_DO, Kind, Refusal, judge

SPOT_ROLE = "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com"
STANDARD = Quota("Standard", "spot")


class TestOneRefusal:
    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            ("InsufficientInstanceCapacity", Kind.CAPACITY),
            ("UnfulfillableCapacity", Kind.CAPACITY),
            ("InsufficientFreeAddressesInSubnet", Kind.CAPACITY),
            ("SpotMaxPriceTooLow", Kind.PRICE),
            ("MaxSpotInstanceCountExceeded", Kind.QUOTA),
            ("VcpuLimitExceeded", Kind.QUOTA),
            ("RequestLimitExceeded", Kind.THROTTLING),
            ("Unavailable", Kind.THROTTLING),
            ("IdempotentParameterMismatch", Kind.THROTTLING),
            ("InvalidAMIID.NotFound", Kind.CONFIGURATION),
            ("UnauthorizedOperation", Kind.CONFIGURATION),
            ("InvalidParameterValue", Kind.CONFIGURATION),
            ("Unsupported", Kind.CONFIGURATION),
            ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", Kind.CONFIGURATION),
            ("NobodyKnowsThisCode", Kind.CONFIGURATION),
        ],
    )
    def test_its_kind_goes_by_its_code(self, code: str, kind: Kind) -> None:
        assert Refusal(code, "").kind is kind

    def test_an_unknown_code_for_a_fault_of_ec2_passes_by_itself(self) -> None:
        assert Refusal("NobodyKnowsThisCode", "", server_fault=True).kind is Kind.THROTTLING

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("InvalidAMIID.NotFound", "TrainerAmi"),
            ("InvalidSubnetID.NotFound", "SubnetIds"),
            ("InvalidLaunchTemplateId.VersionNotFound", "make deploy"),
            ("UnauthorizedOperation", "permissions boundary"),
            ("Unsupported", "InstanceTypes"),
            ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", SPOT_ROLE),
            ("NobodyKnowsThisCode", "Read what EC2 says"),
        ],
    )
    def test_what_to_do_names_the_thing_to_mend(self, code: str, words: str) -> None:
        assert words in Refusal(code, "").what_to_do

    def test_no_code_both_waits_and_has_to_be_mended(self) -> None:
        assert not set(KINDS) & set(WHAT_TO_DO)


class TestManyAtOnce:
    def test_one_pool_that_only_lacks_capacity_makes_waiting_worth_it(self) -> None:
        verdict = judge([Refusal("Unsupported", "no"), Refusal("InsufficientInstanceCapacity", "none here")])
        assert (verdict.kind, verdict.waits) == (Kind.CAPACITY, True)
        assert verdict.sentence == (
            "No machine to be had now in 1 of 2 pools (capacity, InsufficientInstanceCapacity): none here"
        )

    def test_pools_that_are_all_wrong_are_not_waited_for(self) -> None:
        verdict = judge([Refusal("Unsupported", "not in this zone")] * 3)
        assert not verdict.waits
        assert verdict.sentence == "EC2 refused to start a machine in 3 of 3 pools (Unsupported): not in this zone"

    @pytest.mark.parametrize(
        ("codes", "kind"),
        [
            (["VcpuLimitExceeded", "SpotMaxPriceTooLow"], Kind.PRICE),
            (["RequestLimitExceeded", "MaxSpotInstanceCountExceeded"], Kind.QUOTA),
            (["UnauthorizedOperation", "RequestLimitExceeded"], Kind.THROTTLING),
        ],
    )
    def test_the_most_hopeful_kind_counts(self, codes: list[str], kind: Kind) -> None:
        assert judge([Refusal(code, "") for code in codes]).kind is kind

    def test_no_answer_at_all_is_a_lack_of_capacity(self) -> None:
        assert judge([]).kind is Kind.CAPACITY

    def test_one_answer_to_the_whole_request_counts_no_pools(self) -> None:
        assert judge([Refusal("RequestLimitExceeded", "slow down")]).sentence == (
            "No machine to be had now (throttling, RequestLimitExceeded): slow down"
        )


class TestTheAccount:
    @pytest.mark.parametrize(
        ("machine_type", "lifecycle", "code"),
        [
            ("c6i.large", "spot", "L-34B43A08"),
            ("m5.large", "on-demand", "L-1216C47A"),
            ("g5.xlarge", "spot", "L-3819A6DF"),
            ("p3.2xlarge", "on-demand", "L-417A185B"),
        ],
    )
    def test_every_family_has_its_quota(self, machine_type: str, lifecycle: str, code: str) -> None:
        assert Quota.of(machine_type, lifecycle).code == code

    def test_one_that_has_all_lacks_nothing(self) -> None:
        assert lacking(Preconditions(True, STANDARD, 32), Kind.CAPACITY) == []

    def test_one_that_does_not_tell_is_not_accused(self) -> None:
        assert lacking(Preconditions(None, STANDARD, None), Kind.CAPACITY) == []

    def test_without_the_role_for_spot_the_command_is_told(self) -> None:
        [told] = lacking(Preconditions(False, STANDARD, 32), Kind.CAPACITY)
        assert told.endswith(SPOT_ROLE)

    def test_on_demand_needs_no_role(self) -> None:
        assert lacking(Preconditions(False, Quota("Standard", "on-demand"), 32), Kind.CAPACITY) == []

    def test_a_quota_of_nothing_is_told_with_the_command(self) -> None:
        [told] = lacking(Preconditions(True, Quota("G and VT", "spot"), 0), Kind.CAPACITY)
        assert "may have 0 vCPUs at a time of G and VT spot machines" in told
        assert told.endswith("--quota-code L-3819A6DF --desired-value 16")

    @pytest.mark.parametrize(("vcpus", "wanted"), [(None, 16), (5, 16), (32, 64)])
    def test_a_quota_that_is_used_up_is_to_be_doubled(self, vcpus: float | None, wanted: int) -> None:
        [told] = lacking(Preconditions(True, STANDARD, vcpus), Kind.QUOTA)
        assert told.endswith(f"--quota-code L-34B43A08 --desired-value {wanted}")


def test_a_refusal_may_be_of_one_pool() -> None:
    assert Refusal("Unsupported", "", Pool("c6i.large", "s-a")).pool == Pool("c6i.large", "s-a")
