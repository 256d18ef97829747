"""What the stack's roles may do: nothing nameless, nothing by wildcard, but for a written list with a reason each."""

from __future__ import annotations

from typing import Any

import pytest

from tests.architecture.cloudformation import FUNCTIONS, RESOURCES, listed, statements

STATEMENTS = [(f"{where}.{statement.get('Sid', '?')}", statement) for where, statement in statements()]
ALLOWED = [(name, statement) for name, statement in STATEMENTS if statement["Effect"] == "Allow"]

# Resource "*", and why it cannot be narrower.
ANY_RESOURCE = {
    "LaunchMachines.SeeMachinesAndPrices": "ec2:Describe* knows no resources",
    "LaunchMachines.SeeThePriceList": "pricing:GetProducts knows no resources",
    "LaunchMachines.SeeQuotas": "servicequotas:GetServiceQuota knows no resources",
    "PullTrainerImage.LogInToTheRegistry": "ecr:GetAuthorizationToken knows no resources",
    "TaskExecutionRole.LogIn": "ecr:GetAuthorizationToken knows no resources",
    "SeeScans.SeeFindingsOfInspector": "inspector2:List* know no resources",
    "RollService.SeeTasks": "ecs:ListTasks knows clusters by condition only, and there is one",
    "ShiftRole.SeeTheBalancer": "elasticloadbalancing:Describe* know no resources",
    "OnTrafficShifting.SeeTasksOfTheCluster": "as RollService.SeeTasks",
    "OnTrafficShifting.ReadRevisions": "ecs:DescribeTaskDefinition knows no resources",
    "RollService.ReadRevisions": "ecs:DescribeTaskDefinition knows no resources",
}


@pytest.mark.parametrize(("name", "statement"), STATEMENTS, ids=[name for name, _ in STATEMENTS])
def test_every_statement_has_a_name(name: str, statement: dict[str, Any]) -> None:
    assert statement.get("Sid"), name


def test_no_two_statements_of_a_place_share_a_name() -> None:
    names = [name for name, _ in STATEMENTS]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize(("name", "statement"), ALLOWED, ids=[name for name, _ in ALLOWED])
def test_no_action_is_a_wildcard(name: str, statement: dict[str, Any]) -> None:
    assert "NotAction" not in statement, name
    assert [action for action in listed(statement["Action"]) if "*" in action] == []


def test_the_only_wildcard_action_is_refused() -> None:
    wild = [name for name, statement in STATEMENTS if any("*" in action for action in listed(statement["Action"]))]
    assert wild == ["BucketTlsOnly.TlsOnly"]
    assert dict(STATEMENTS)["BucketTlsOnly.TlsOnly"]["Effect"] == "Deny"


def test_any_resource_only_from_the_list_with_reasons() -> None:
    used = {name for name, statement in ALLOWED if "*" in listed(statement.get("Resource", []))}
    assert used == set(ANY_RESOURCE)
    assert all(ANY_RESOURCE.values())


def test_a_revision_is_registered_in_the_one_family_alone() -> None:
    family = RESOURCES["TaskDefinition"]["Properties"]["Family"]["Fn::Sub"]
    [statement] = [s for _, s in ALLOWED if "ecs:RegisterTaskDefinition" in listed(s["Action"])]
    assert statement["Resource"]["Fn::Sub"].endswith(f":task-definition/{family}:*")


def test_who_reads_revisions_or_deployments_of_a_service_may_see_the_service_too() -> None:
    """ECS asks for both (Service Authorization Reference, list_amazonelasticcontainerservice)."""
    for action, kind in (
        ("ecs:DescribeServiceRevisions", "service-revision"),
        ("ecs:DescribeServiceDeployments", "service-deployment"),
    ):
        places: dict[str, set[str]] = {}
        for name, statement in ALLOWED:
            if action in listed(statement["Action"]):
                told = {r["Fn::Sub"].rpartition(":")[2].split("/")[0] for r in listed(statement["Resource"])}
                places.setdefault(name.partition(".")[0], set()).update(told)
        assert all(kinds == {"service", kind} for kinds in places.values()), places


def test_a_role_is_handed_on_to_one_service_alone() -> None:
    handed = [statement for _, statement in ALLOWED if "iam:PassRole" in listed(statement["Action"])]
    assert handed
    for statement in handed:
        assert listed(statement["Action"]) == ["iam:PassRole"]
        assert statement["Condition"]["StringEquals"]["iam:PassedToService"].endswith(".amazonaws.com")
        assert all(set(resource) == {"Fn::GetAtt"} for resource in listed(statement["Resource"]))


def test_nobody_is_trusted_but_the_service_that_needs_it() -> None:
    trusted = {name: statement["Principal"] for name, statement in ALLOWED if "Principal" in statement}
    assert trusted
    assert [name for name, principal in trusted.items() if principal == "*" or "AWS" in principal] == []


def test_only_machines_of_this_stack_may_be_ended() -> None:
    ending = [statement for _, statement in ALLOWED if "ec2:TerminateInstances" in listed(statement["Action"])]
    assert len(ending) == 2, "the functions that launch, and the guards"
    for statement in ending:
        assert statement["Condition"] == {"StringEquals": {"aws:ResourceTag/tidegate:stack": {"Ref": "AWS::StackName"}}}


def test_a_guard_may_end_machines_and_nothing_else() -> None:
    [document] = [policy["PolicyDocument"] for policy in RESOURCES["GuardRole"]["Properties"]["Policies"]]
    assert [statement["Action"] for statement in document["Statement"]] == ["ec2:TerminateInstances"]


def test_the_tag_that_permissions_ask_for_is_the_tag_that_is_written() -> None:
    from controlplane.adapters import ec2_fleet

    source = ec2_fleet.__loader__.get_source(ec2_fleet.__name__)  # type: ignore[union-attr]
    assert '"tidegate:stack": self._stack' in source


def test_tags_are_written_at_launch_only() -> None:
    tagging = [statement for _, statement in ALLOWED if "ec2:CreateTags" in listed(statement["Action"])]
    assert [set(statement["Condition"]["StringEquals"]) for statement in tagging] == [{"ec2:CreateAction"}]


def test_no_function_may_change_the_data_of_people() -> None:
    """raw/ is theirs: read, never written or deleted by us."""
    for name, statement in ALLOWED:
        actions = set(listed(statement["Action"]))
        if actions & {"s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"}:
            places = [resource["Fn::Sub"] for resource in listed(statement["Resource"])]
            assert all(place.startswith("${Bucket.Arn}/") for place in places), name
            assert not any(place.startswith("${Bucket.Arn}/raw") for place in places), name


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_takes_no_policies_of_aws(function: str) -> None:
    for policy in FUNCTIONS[function]["Policies"]:
        assert isinstance(policy, dict), policy
        assert "Statement" in policy or policy["Ref"] in RESOURCES
