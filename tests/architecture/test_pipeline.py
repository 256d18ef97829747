"""What GitHub may do in the account: pipeline.yaml's trust and rights, and what bounds the roles that it makes."""

from __future__ import annotations

import fnmatch
import json
from typing import Any

import pytest

from tests.architecture.cloudformation import FUNCTIONS, RESOURCES, ROOT, documents, listed, statements
from tools.cloudformation import template

PIPELINE: dict[str, Any] = template(ROOT / "pipeline.yaml")["Resources"]
GITHUB = "token.actions.githubusercontent.com"
JOBS = ("GitHubDeployRole", "GitHubPushRole")

# Resource "*", and why it cannot be narrower.
ANY_RESOURCE = {
    "GitHubPushRole.LogInToTheRegistry": "ecr:GetAuthorizationToken knows no resources",
    "DeployServiceRole.ChangeWhatHasNoNameOfOurs": "networks, load balancers and mappings have ids, not names",
    "Boundary.WorkOnWhatHasNoNameOfOurs": "the same actions, as narrow as the roles' own statements make them",
}
# Actions with a "*", and why: CloudFormation's handlers of a resource call what its next version may call too.
WILDCARDS = {"DeployServiceRole.ChangeWhatBearsTheStacksName", "DeployServiceRole.ChangeWhatHasNoNameOfOurs"}


def rights() -> dict[str, dict[str, Any]]:
    found = {}
    for name, resource in PIPELINE.items():
        for document in documents(resource.get("Properties", {})):
            for statement in document["Statement"]:
                found[f"{name}.{statement['Sid']}"] = statement
    return found


RIGHTS = rights()
ALLOWED = {name: statement for name, statement in RIGHTS.items() if statement["Effect"] == "Allow"}


@pytest.mark.parametrize("role", JOBS)
def test_only_jobs_of_the_one_environment_on_main_are_trusted_by_their_whole_names(role: str) -> None:
    [statement] = PIPELINE[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Principal"]["Federated"]["Fn::Sub"].endswith(f":oidc-provider/{GITHUB}")
    assert statement["Condition"] == {
        "StringEquals": {
            f"{GITHUB}:aud": "sts.amazonaws.com",
            f"{GITHUB}:sub": {"Fn::Sub": "repo:${GitHubRepository}:environment:${GitHubEnvironment}"},
            f"{GITHUB}:ref": "refs/heads/main",
        }
    }


def test_no_parameter_can_put_a_wildcard_into_the_trust() -> None:
    told = template(ROOT / "pipeline.yaml")["Parameters"]
    for name in ("GitHubRepository", "GitHubEnvironment", "Stack"):
        assert "*" not in told[name]["AllowedPattern"].replace("]*", "").replace("{0,19}", ""), name
        assert "?" not in told[name]["AllowedPattern"].replace(")?", ""), name


def test_any_resource_and_wildcard_actions_only_from_the_lists_with_reasons() -> None:
    assert {name for name, s in ALLOWED.items() if "*" in listed(s.get("Resource", []))} == set(ANY_RESOURCE)
    assert {name for name, s in ALLOWED.items() if any("*" in a for a in listed(s["Action"]))} == WILDCARDS


def test_a_job_that_pushes_may_push_to_the_one_repository_and_nothing_else() -> None:
    mine = {name: s for name, s in ALLOWED.items() if name.startswith("GitHubPushRole.") and "Principal" not in s}
    actions = {action for s in mine.values() for action in listed(s["Action"])}
    assert actions == {
        "ecr:GetAuthorizationToken",
        "ecr:BatchCheckLayerAvailability",
        "ecr:InitiateLayerUpload",
        "ecr:UploadLayerPart",
        "ecr:CompleteLayerUpload",
        "ecr:PutImage",
        "ecr:BatchGetImage",
    }
    assert mine["GitHubPushRole.PushToTheOneRepository"]["Resource"]["Fn::Sub"].endswith(
        ":repository/${Stack}/inference"
    )
    assert RESOURCES["Repository"]["Properties"]["RepositoryName"] == {"Fn::Sub": "${AWS::StackName}/inference"}


def test_a_job_that_deploys_hands_its_work_to_cloudformation_and_changes_nothing_itself() -> None:
    mine = {name: s for name, s in ALLOWED.items() if name.startswith("GitHubDeployRole.") and "Principal" not in s}
    services = {action.split(":")[0] for s in mine.values() for action in listed(s["Action"])}
    assert services == {"cloudformation", "iam", "s3"}
    handed = mine["GitHubDeployRole.HandCloudFormationItsRole"]
    assert handed["Action"] == "iam:PassRole"
    assert handed["Resource"] == {"Fn::GetAtt": ["DeployServiceRole", "Arn"]}
    assert handed["Condition"] == {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}}
    [trust] = PIPELINE["DeployServiceRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "cloudformation.amazonaws.com"}


def test_the_pipeline_cannot_change_its_own_rights() -> None:
    """Its roles and its boundary bear other names than what the service role may change."""
    changed = [
        resource["Fn::Sub"].rpartition(":")[2]
        for name, s in ALLOWED.items()
        if name.startswith("DeployServiceRole.") and "Principal" not in s
        for resource in listed(s["Resource"])
        if isinstance(resource, dict) and "Fn::Sub" in resource and ":iam::" in resource["Fn::Sub"]
    ]
    assert changed and all("/${Stack}-" in name or name.startswith("role/aws-service-role/") for name in changed)
    assert PIPELINE["Boundary"]["Properties"]["ManagedPolicyName"] == {"Fn::Sub": "boundary-of-${Stack}"}
    makefile = (ROOT / "Makefile").read_text()
    assert "--stack-name ci-tidegate-$(ENV)" in makefile, "names of its own begin with ci-"


def test_roles_are_made_and_given_rights_only_within_the_boundary() -> None:
    for name, statement in ALLOWED.items():
        if {"iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"} & set(listed(statement["Action"])):
            assert statement["Condition"] == {"StringEquals": {"iam:PermissionsBoundary": {"Ref": "Boundary"}}}, name
    away = {"iam:DeleteRolePermissionsBoundary", "iam:*"}
    assert not [name for name, s in ALLOWED.items() if away & set(listed(s["Action"]))]


def test_the_boundary_lets_every_role_of_the_stack_do_what_it_does() -> None:
    within = [a for name, s in ALLOWED.items() if name.startswith("Boundary.") for a in listed(s["Action"])]
    wanted = {
        action
        for _, statement in statements()
        if statement["Effect"] == "Allow" and "Principal" not in statement
        for action in listed(statement["Action"])
    }
    if any(
        "VpcConfig" in function for function in FUNCTIONS.values()
    ):  # AWSLambdaVPCAccessExecutionRole, which SAM adds
        faces = ("Create", "Delete", "Describe")
        wanted |= {f"ec2:{verb}NetworkInterface{'s' if verb == 'Describe' else ''}" for verb in faces}
        wanted |= {"ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"}
    assert {action for action in wanted if not any(fnmatch.fnmatch(action, known) for known in within)} == set()


def test_every_role_of_the_stack_takes_the_boundary() -> None:
    globally = template()["Globals"]["Function"]["PermissionsBoundary"]
    roles = [r["Properties"] for r in RESOURCES.values() if r["Type"] == "AWS::IAM::Role"]
    schedules = [
        event["Properties"]
        for r in RESOURCES.values()
        for event in r.get("Properties", {}).get("Events", {}).values()
        if event["Type"] == "ScheduleV2"
    ]
    assert roles and schedules
    assert all(properties["PermissionsBoundary"] == globally for properties in [*roles, *schedules])


def test_cloudformation_never_touches_what_is_in_the_bucket_and_the_ledger() -> None:
    refused = RIGHTS["DeployServiceRole.NeverTouchWhatIsInTheBucketAndTheLedger"]
    assert refused["Effect"] == "Deny" and "Condition" not in refused
    for _, statement in statements():
        for action in listed(statement["Action"]):
            if action.startswith("dynamodb:") or "Object" in action:
                assert any(fnmatch.fnmatch(action, known) for known in refused["Action"]), action


def test_the_artifacts_are_kept_as_the_data_is() -> None:
    ours, theirs = PIPELINE["ArtifactBucket"]["Properties"], RESOURCES["Bucket"]["Properties"]
    for name in ("BucketEncryption", "PublicAccessBlockConfiguration", "OwnershipControls", "VersioningConfiguration"):
        assert ours[name] == theirs[name], name
    assert RIGHTS["ArtifactBucketTlsOnly.TlsOnly"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert json.dumps(ours["LifecycleConfiguration"]).count("ExpirationInDays") == 1


def test_the_role_that_a_stack_was_deployed_with_outlives_the_pipeline() -> None:
    assert PIPELINE["DeployServiceRole"]["DeletionPolicy"] == "RetainExceptOnCreate"
