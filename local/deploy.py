"""`sam build` and `sam deploy` of the real template into the local cloud, by the real `sam`.

Promise: what is deployed is the template. What the emulator has no such thing for is left out by the written list
below, is returned, and is never left out silently. A failed deploy says which resource failed and why.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from samcli.yamlhelper import yaml_dump, yaml_parse

from local.aws import Aws
from local.build import build
from local.sam import DeployFault, clean_environment, configured, overrides, sam

ARTIFACTS = "tidegate-local-artifacts"
IMAGE = "ami-0c2023a1b2c3d4e5f"  # the emulator's Amazon Linux 2023; what runs on a machine is this computer's Python

LEFT_OUT: Mapping[str, str] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": "The emulator has no Application Auto Scaling. The deploy sets "
    "the service to its minimum of tasks.",
    "AWS::ApplicationAutoScaling::ScalingPolicy": "The emulator has no Application Auto Scaling. "
    "Nothing follows the load.",
    "AWS::S3::BucketPolicy": "The local cloud speaks plain HTTP on loopback, and the stack's one bucket policy "
    "denies whatever is not TLS.",
}


@dataclass(frozen=True)
class LeftOut:
    resource: str
    type: str
    reason: str


@dataclass(frozen=True)
class Deployed:
    deployed: int
    left_out: list[LeftOut]
    seconds: dict[str, float]


def deploy(
    aws: Aws,
    *,
    template: Path,
    stack: str,
    work: Path,
    parameters: Mapping[str, str],
    say: Callable[[str], None],
) -> Deployed:
    """Build, leave out, put what the template expects of AWS, deploy."""
    if not template.exists():
        raise DeployFault(f"There is no {template.name} to deploy. Run this in a checkout of Tidegate.")
    must_be_known(parameters, template)
    work.mkdir(parents=True, exist_ok=True)
    given = {**configured(template.parent / "samconfig.toml"), **parameters}
    seconds: dict[str, float] = {}
    with timed(seconds, "build"):
        say("sam build")
        built = build(template, work, given)
    filtered = work / "deployed.yaml"
    template_text = yaml_parse(built.read_text())
    text, left_out = without_left_out(template_text)
    filtered.write_text(yaml_dump(text))
    for entry in left_out:
        say(f"left out: {entry.resource} ({entry.type}). {entry.reason}")
    with timed(seconds, "deploy"):
        put_machine_images(aws, text, given)
        put_artifact_bucket(aws)
        remove_failed_first(aws, stack)
        say("sam deploy")
        sam_deploy(aws, filtered, built.parent, stack, work, given)
        keep_minimum(aws, stack, minimum_of_tasks(template_text, given))
    return Deployed(len(resources(aws, stack)), left_out, seconds)


def must_be_known(given: Mapping[str, str], template: Path) -> None:
    """Raises DeployFault for what is no parameter of the template: sam would build first, and refuse it then."""
    known = {name.lower(): name for name in yaml_parse(template.read_text()).get("Parameters", {})}
    for name in given:
        if name not in known.values():
            near = [known[found] for found in get_close_matches(name.lower(), known, cutoff=0.0)]
            told = f"The nearest are {', '.join(near)}; all are in docs/reference.md" if near else "It has none"
            raise DeployFault(f"{name} is no parameter of {template.name}. {told}.")


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - start, 2)


def without_left_out(template: dict[str, Any]) -> tuple[dict[str, Any], list[LeftOut]]:
    """The template less the types that the emulator refuses. Raises when what is kept refers to it."""
    declared: dict[str, Any] = template.get("Resources", {})
    left_out = [
        LeftOut(name, body["Type"], LEFT_OUT[body["Type"]])
        for name, body in declared.items()
        if body["Type"] in LEFT_OUT
    ]
    gone = {entry.resource for entry in left_out}
    kept = {**template, "Resources": {name: body for name, body in declared.items() if name not in gone}}
    for section in ("Resources", "Outputs"):
        for name, body in kept.get(section, {}).items():
            if bad := sorted(gone & references(body)):
                raise DeployFault(
                    f"{name} refers to {bad[0]}, which the local cloud leaves out (LEFT_OUT in local/deploy.py). "
                    f"Make {name} do without it."
                )
    return kept, left_out


def references(body: Any) -> set[str]:
    """The logical names that a piece of a template refers to."""
    if isinstance(body, list):
        return set().union(*map(references, body)) if body else set()
    if not isinstance(body, dict):
        return set()
    found: set[str] = set()
    for key, value in body.items():
        if key == "Ref" and isinstance(value, str):
            found.add(value)
        elif key == "DependsOn":
            found |= set([value] if isinstance(value, str) else value)
        elif key == "Fn::GetAtt":
            found.add(value.split(".")[0] if isinstance(value, str) else value[0])
        elif key == "Fn::Sub":
            text = value if isinstance(value, str) else value[0]
            found |= {name.split(".")[0] for name in re.findall(r"\$\{([^!}][^}]*)\}", text)}
            found |= set() if isinstance(value, str) else references(value[1])
        else:
            found |= references(value)
    return found


def minimum_of_tasks(template: Mapping[str, Any], given: Mapping[str, str]) -> int | None:
    """What the left out scalable target would hold the service to."""
    for body in template["Resources"].values():
        if body["Type"] == "AWS::ApplicationAutoScaling::ScalableTarget":
            least = body["Properties"]["MinCapacity"]
            if isinstance(least, dict) and "Ref" in least:
                name = least["Ref"]
                least = given.get(name, template.get("Parameters", {}).get(name, {}).get("Default"))
            return int(least)
    return None


def keep_minimum(aws: Aws, stack: str, least: int | None) -> None:
    """Raise the services of the stack to the minimum; what is above it stays."""
    ecs = aws.client("ecs")
    for arn in physical_ids(aws, stack, "AWS::ECS::Service") if least else []:
        cluster, service = arn.split("/")[-2:]
        found = ecs.describe_services(cluster=cluster, services=[service])["services"][0]
        if found["desiredCount"] < (least or 0):
            ecs.update_service(cluster=cluster, service=service, desiredCount=least)


def put_machine_images(aws: Aws, template: Mapping[str, Any], given: Mapping[str, str]) -> None:
    """AWS publishes the ids of its machine images as public parameters; the emulator starts without them."""
    ssm = aws.client("ssm")
    for name, parameter in template.get("Parameters", {}).items():
        if not str(parameter.get("Type", "")).startswith("AWS::SSM::Parameter::Value<"):
            continue
        path = given.get(name, str(parameter.get("Default", "")))
        if path.startswith("/aws/service/"):
            ssm.put_parameter(Name=path, Value=IMAGE, Type="String", Overwrite=True)


def put_artifact_bucket(aws: Aws) -> None:
    s3 = aws.client("s3")
    try:
        s3.head_bucket(Bucket=ARTIFACTS)
    except ClientError:
        s3.create_bucket(Bucket=ARTIFACTS)


def remove_failed_first(aws: Aws, stack: str) -> None:
    """A stack whose first deploy failed takes no other, on AWS too: it has nothing in it and is deleted."""
    cloudformation = aws.client("cloudformation")
    try:
        status = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
    except ClientError as fault:
        if fault.response["Error"]["Code"] != "ValidationError":
            raise
        return
    if status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"):
        cloudformation.delete_stack(StackName=stack)
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})


def sam_deploy(aws: Aws, template: Path, built: Path, stack: str, work: Path, parameters: Mapping[str, str]) -> None:
    # The built template names its artifacts relative to itself, so the filtered copy is deployed from beside it.
    beside = built / "deployed.yaml"
    beside.write_text(template.read_text())
    settings = work / "samconfig.toml"
    settings.write_text("version = 0.1\n")
    since = time.time()
    try:
        sam(
            ["deploy", "--template-file", str(beside), "--stack-name", stack, "--s3-bucket", ARTIFACTS,
             "--s3-prefix", stack, "--region", aws.region, "--config-file", str(settings),
             "--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND",
             "--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar",
             *overrides(parameters)],
            work, {**clean_environment(), **aws.environment},
        )  # fmt: skip
    except DeployFault as fault:
        if reasons := failures(aws, stack, since):
            raise DeployFault(f"The stack was not deployed. {reasons}") from fault
        raise


def failures(aws: Aws, stack: str, since: float) -> str:
    """The events of this deploy that failed first, as sentences; those that were only cancelled are left out."""
    try:
        events = aws.client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
    except ClientError:
        return ""
    found = [
        f"{event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', 'no reason')}"
        for event in events
        if event["ResourceStatus"].endswith("_FAILED")
        and event["Timestamp"].timestamp() >= since - 1
        and "cancelled" not in event.get("ResourceStatusReason", "")
    ]
    return "; ".join(reversed(found[-5:]))


def resources(aws: Aws, stack: str) -> list[dict[str, Any]]:
    pages = aws.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
    return [summary for page in pages for summary in page["StackResourceSummaries"]]


def physical_ids(aws: Aws, stack: str, kind: str) -> list[str]:
    return [entry["PhysicalResourceId"] for entry in resources(aws, stack) if entry["ResourceType"] == kind]


def outputs(aws: Aws, stack: str) -> dict[str, str]:
    try:
        stacks = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except ClientError as fault:
        if fault.response["Error"]["Code"] == "ValidationError":
            return {}
        raise
    return {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}


def parameters(aws: Aws, stack: str) -> dict[str, str]:
    """What the stack was deployed with."""
    told = aws.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in told.get("Parameters", [])}


def shell_name(name: str) -> str:
    """BucketName -> BUCKET, AlertsTopicArn -> ALERTS_TOPIC, IngestQueueUrl -> INGEST_QUEUE_URL."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", re.sub(r"(Name|Arn)$", "", name)).upper()
