"""`sam build` and `sam deploy` of the real template into the local cloud, by the real `sam`.

Promise: what is deployed is the template. What the emulator has no such thing for is left out by the written list
below, is returned, and is never left out silently. A failed deploy says which resource failed and why.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from samcli.yamlhelper import yaml_dump, yaml_parse

from local.aws import Aws

ROOT = Path(__file__).resolve().parent.parent
ARTIFACTS = "tidegate-local-artifacts"
KEPT_BUILDS = 4
IMAGE = "ami-0c2023a1b2c3d4e5f"  # the emulator's Amazon Linux 2023; what runs on a machine is this computer's Python

LEFT_OUT: Mapping[str, str] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": "The emulator has no Application Auto Scaling. The deploy sets "
    "the service to its minimum of tasks.",
    "AWS::ApplicationAutoScaling::ScalingPolicy": "The emulator has no Application Auto Scaling. "
    "Nothing follows the load.",
    "AWS::S3::BucketPolicy": "The local cloud speaks plain HTTP on loopback, and the stack's one bucket policy "
    "denies whatever is not TLS.",
}


class DeployFault(Exception):
    """The stack was not deployed; the message says why and what to do."""


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


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - start, 2)


def configured(path: Path) -> dict[str, str]:
    """The parameters of the environment `local` in samconfig.toml."""
    if not path.exists():
        return {}
    environment = tomllib.loads(path.read_text()).get("local", {})
    found: dict[str, str] = {}
    for command in ("global", "build", "deploy"):
        value = environment.get(command, {}).get("parameters", {}).get("parameter_overrides", [])
        for word in shlex.split(value) if isinstance(value, str) else value:
            name, _, setting = str(word).partition("=")
            found[name] = setting.strip('"')
    return found


def stack_name(path: Path = ROOT / "samconfig.toml") -> str:
    """What the environment `local` of samconfig.toml calls the stack."""
    if not path.exists():
        return "tidegate-local"
    settings = tomllib.loads(path.read_text()).get("local", {}).get("global", {}).get("parameters", {})
    return str(settings.get("stack_name", "tidegate-local"))


def overrides(parameters: Mapping[str, str]) -> list[str]:
    if not parameters:
        return []
    return ["--parameter-overrides", *(f"ParameterKey={k},ParameterValue={v}" for k, v in parameters.items())]


def build(template: Path, work: Path, parameters: Mapping[str, str]) -> Path:
    """`sam build` into this cloud's own folder, or what it made of the very same files before. One build at a time."""
    cache, kept, built = ROOT / "build" / "sam-cache", ROOT / "build" / "sam-built", work / "build"
    for folder in (cache, kept):  # of its cache sam removes what is not of the last build
        folder.mkdir(parents=True, exist_ok=True)
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = kept / fingerprint(template, parameters)
        if not known.is_dir():
            fresh = kept / "unfinished"
            shutil.rmtree(fresh, ignore_errors=True)
            sam(
                ["build", "--template-file", str(template), "--build-dir", str(fresh), "--cached",
                 "--cache-dir", str(cache), *overrides(parameters)],
                work, os.environ,
            )  # fmt: skip
            make_movable(fresh / "template.yaml")
            fresh.rename(known)
            for old in sorted(kept.glob("*/"), key=lambda path: path.stat().st_mtime)[:-KEPT_BUILDS]:
                shutil.rmtree(old)
        shutil.rmtree(built, ignore_errors=True)
        shutil.copytree(known, built, symlinks=True)
    return built / "template.yaml"


def make_movable(template: Path) -> None:
    """So that the built template can be copied anywhere, and deployed fast: what lies outside of its folder is named in
    full, and equal functions share one archive. sam copies what it built for each of them, and packs every folder."""
    text, here = yaml_parse(template.read_text()), template.parent
    first: dict[str, str] = {}
    for body in text.get("Resources", {}).values():
        properties = body.get("Properties", {})
        for name in ("CodeUri", "ContentUri"):
            folder = properties.get(name)
            if not isinstance(folder, str) or not (here / folder).is_dir():
                continue
            if not (here / folder).resolve().is_relative_to(here.resolve()):
                properties[name] = str((here / folder).resolve())
                continue
            archive = first.setdefault(digest_of(here / folder), f"{folder}.zip")
            if archive == f"{folder}.zip":
                pack(here / folder, here / archive)
            properties[name] = archive
            shutil.rmtree(here / folder)
    template.write_text(yaml_dump(text))


def files_of(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def digest_of(folder: Path) -> str:
    """Of names, modes and contents of all its files."""
    found = hashlib.sha256()
    for path in files_of(folder):
        body = path.read_bytes()
        found.update(f"{path.relative_to(folder)} {path.stat().st_mode} {len(body)}\n".encode())
        found.update(body)
    return found.hexdigest()


def pack(folder: Path, archive: Path) -> None:
    """The same files make the same archive, so that a deploy of unchanged code changes no function."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in files_of(folder):
            entry = zipfile.ZipInfo(str(path.relative_to(folder)))  # of 1980, which is as early as it goes
            entry.external_attr = path.stat().st_mode << 16
            packed.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


def fingerprint(template: Path, parameters: Mapping[str, str]) -> str:
    """Of all that a build depends on: Python, the template, its runtime, and every file that it packs."""
    text = template.read_text()
    runtimes = {name: parameters.get(name) for name in re.findall(r"Runtime: *!Ref (\w+)", text)}
    found = hashlib.sha256(repr((sys.version, sys.prefix, sorted(runtimes.items()), text)).encode())
    for folder in sorted(set(re.findall(r"(?:CodeUri|ContentUri): *([^\s#]+)", text))):
        found.update(f"{folder} {digest_of(template.parent / folder)}".encode())
    return found.hexdigest()[:16]


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


def clean_environment() -> dict[str, str]:
    """The user's environment less every AWS setting: a deploy into the local cloud can never reach an account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **kept,
        "NO_PROXY": "127.0.0.1,localhost",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def sam(arguments: list[str], work: Path, environment: Mapping[str, str]) -> None:
    """Run the `sam` of this Python's own environment; its whole output is in sam.log."""
    program = Path(sys.executable).parent / "sam"
    if not program.exists():
        raise DeployFault(f"There is no {program}. Install the development requirements first: make install")
    path = f"{program.parent}{os.pathsep}{environment.get('PATH', '')}"
    done = subprocess.run(
        [str(program), *arguments],
        cwd=ROOT,
        env={**environment, "SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "0.3", "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    log = work / "sam.log"
    with log.open("a") as file:
        file.write(f"$ sam {shlex.join(arguments)}\n{done.stdout}{done.stderr}\n")
    if done.returncode:
        raise DeployFault(f"`sam {arguments[0]}` failed: {cause(done.stdout + done.stderr)} The whole output: {log}")


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


def shell_name(name: str) -> str:
    """BucketName -> BUCKET, AlertsTopicArn -> ALERTS_TOPIC, IngestQueueUrl -> INGEST_QUEUE_URL."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", re.sub(r"(Name|Arn)$", "", name)).upper()


def cause(output: str) -> str:
    """What sam calls an error, with the lines below it, where the cause stands."""
    said = [line.strip() for line in output.splitlines() if line.strip()] or ["it said nothing"]
    at = next((number for number, line in enumerate(said) if line.startswith(("Error", "Build Failed"))), -1)
    return " ".join(said[at:])[:600]
