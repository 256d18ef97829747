"""pipeline.yaml deployed, IAM enforced: who is trusted, and that its rights are enough for what the workflows run.

What CloudFormation itself may do with the service role is not enforced by the emulator.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from samcli.yamlhelper import yaml_dump, yaml_parse

from local.aws import Aws
from local.deploy import without_left_out
from local.sam import clean_environment

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]
STACK, REPOSITORY = "tidegate-piped", "someone@12/tidegate@34"
NAME = "ci-tidegate-piped"
GOOD = {
    "iss": "https://token.actions.githubusercontent.com",
    "aud": "sts.amazonaws.com",
    "sub": f"repo:{REPOSITORY}:environment:prod",
    "ref": "refs/heads/main",
}
SMALL = """
Transform: AWS::Serverless-2016-10-31
Parameters: {Ami: {Type: 'AWS::SSM::Parameter::Value<String>', Default: /aws/service/small}}
Resources:
  Answer:
    Type: AWS::Serverless::Function
    Properties: {Runtime: python3.11, Handler: answer.handler, CodeUri: code, Description: !Ref Ami}
"""


@pytest.fixture(scope="module")
def made(aws: Aws) -> Iterator[dict[str, str]]:
    template, _ = without_left_out(yaml_parse((ROOT / "pipeline.yaml").read_text()))
    told = {"Stack": STACK, "GitHubRepository": REPOSITORY, "GitHubEnvironment": "prod"}
    formation = aws.client("cloudformation")
    formation.create_stack(
        StackName=NAME,
        TemplateBody=yaml_dump(template),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in told.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    formation.get_waiter("stack_create_complete").wait(StackName=NAME, WaiterConfig={"Delay": 1})
    yield {o["OutputKey"]: o["OutputValue"] for o in formation.describe_stacks(StackName=NAME)["Stacks"][0]["Outputs"]}
    formation.delete_stack(StackName=NAME)


def token(claims: dict[str, str]) -> str:
    parts: tuple[dict[str, str], ...] = ({"alg": "RS256"}, claims, {})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


def keys(aws: Aws, role: str, claims: dict[str, str]) -> dict[str, str]:
    sts = aws.client("sts")
    told = sts.assume_role_with_web_identity(RoleArn=role, RoleSessionName="job", WebIdentityToken=token(claims))
    given = told["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("sub", f"repo:{REPOSITORY}:environment:dev"),
        ("sub", f"repo:{REPOSITORY}:ref:refs/heads/main"),
        ("sub", "repo:someone/tidegate:environment:prod"),
        ("sub", "repo:another@56/tidegate@78:environment:prod"),
        ("ref", "refs/heads/feature"),
        ("ref", "refs/pull/1/merge"),
        ("aud", "https://github.com/someone"),
        ("iss", "https://token.example.org"),
    ],
)
def test_no_other_job_is_trusted(aws: Aws, made: dict[str, str], claim: str, value: str) -> None:
    for role in ("DeployRoleArn", "PushRoleArn"):
        with pytest.raises(ClientError) as refused:
            keys(aws, made[role], {**GOOD, claim: value})
        assert refused.value.response["Error"]["Code"] == "AccessDenied"


def sam_deploy(aws: Aws, made: dict[str, str], folder: Path, stack: str) -> subprocess.CompletedProcess[str]:
    """As the workflow does it, with what the job's role may do and nothing else."""
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "answer.py").write_text("def handler(event, context):\n    return 1\n")
    (folder / "template.yaml").write_text(SMALL)
    environment = {**clean_environment(), **aws.environment, **keys(aws, made["DeployRoleArn"], GOOD)}
    command = ["deploy", "--stack-name", stack, "--capabilities", "CAPABILITY_IAM", "--no-resolve-s3", "--s3-bucket"]
    command += [made["ArtifactBucketName"], "--s3-prefix", stack, "--role-arn", made["ServiceRoleArn"]]
    command += ["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"]
    return subprocess.run(
        [str(Path(sys.executable).parent / "sam"), *command],
        cwd=folder,
        env={**environment, "SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "0.3", "PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_jobs_role_is_enough_for_sam_deploy_of_the_one_stack_and_of_no_other(
    aws: Aws, made: dict[str, str], tmp_path: Path
) -> None:
    aws.client("ssm").put_parameter(Name="/aws/service/small", Value="small", Type="String", Overwrite=True)
    for _ in ("the first time", "again, with nothing changed"):
        done = sam_deploy(aws, made, tmp_path, STACK)
        assert done.returncode == 0, done.stdout + done.stderr
    other = sam_deploy(aws, made, tmp_path, "tidegate-other")
    assert other.returncode != 0 and "not authorized" in other.stdout + other.stderr


def test_the_jobs_role_pushes_to_the_one_repository_and_to_no_other(aws: Aws, made: dict[str, str]) -> None:
    given = keys(aws, made["PushRoleArn"], GOOD)
    ecr: Any = boto3.client(
        "ecr", endpoint_url=aws.endpoint, region_name=aws.region, aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"], aws_session_token=given["AWS_SESSION_TOKEN"],
    )  # fmt: skip
    for name in (f"{STACK}/inference", "another/inference"):
        aws.client("ecr").create_repository(repositoryName=name)
    assert ecr.get_authorization_token()["authorizationData"]
    assert ecr.initiate_layer_upload(repositoryName=f"{STACK}/inference")["uploadId"]
    with pytest.raises(ClientError) as refused:
        ecr.initiate_layer_upload(repositoryName="another/inference")
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
