"""One machine: its folder, its metadata service, and the process group that its user data runs in.

Promise: the script sees what it would see on EC2 (IMDS, its role's credentials there, a PATH, a HOME, `shutdown`,
`docker`) and nothing of the person who runs the local cloud: no key, no setting, no home directory.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local import machine_docker
from local.aws import Aws
from local.engine.docker import DOCKER, MACHINE_LABEL, Docker, EngineFault
from local.imds import Credentials, Facts, Imds
from local.processes import MARK, leashed

SHUTDOWN = """#!/bin/sh
# Stands for shutdown(8) on a machine of the local cloud: leaves the wish where the local cloud finds it.
when=+1
case "$(basename "$0")" in poweroff|halt) when=now;; esac
for word in "$@"; do
  case "$word" in
    -c) when=cancel;;
    now|+[0-9]*) when=$word;;
  esac
done
printf '%s\\n' "$when" > "{folder}/power.new" && mv "{folder}/power.new" "{folder}/power"
echo "Shutdown: $when"
"""
GRACE_SECONDS = 5.0
ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Machine:
    """A machine that is up. Times are seconds of the clock that the caller uses."""

    folder: Path
    imds: Imds
    process: subprocess.Popen[bytes]
    terminates: bool
    engine: str = ""  # the container engine that its `docker` is a client of
    off_at: float | None = None
    reclaimed_at: float | None = None
    ending: bool = False

    @property
    def facts(self) -> Facts:
        return self.imds.facts

    def wish(self, name: str) -> tuple[str, float] | None:
        """A file that was left for us (by `shutdown` or by the command line): its text and when it was written."""
        path = self.folder / name
        try:
            text, at = path.read_text().strip(), path.stat().st_mtime
        except FileNotFoundError:
            return None
        path.unlink()
        return text, at

    def ask_to_end(self) -> None:
        """SIGTERM to all its processes; the leash kills what is left after the grace."""
        if not self.ending:
            self.ending = True
            self.process.send_signal(signal.SIGTERM)

    def gone(self) -> bool:
        return self.process.poll() is not None

    def close(self) -> None:
        """Take away what is left of it, on a real engine its container too: killing the client leaves that running."""
        self.imds.close()
        if self.engine:
            try:
                Docker(self.engine, self.folder / "home" / ".docker").remove_containers(self.folder, MACHINE_LABEL)
            except EngineFault as fault:  # they are looked for again when the local cloud ends
                print(f"Containers of {self.folder.name} may be left over. {fault}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Plan:
    """What a machine boots with."""

    facts: Facts
    user_data: str
    terminates: bool
    tags: Mapping[str, str] = field(default_factory=dict)


def plan(aws: Aws, instance: Mapping[str, Any]) -> Plan:
    """From what DescribeInstances says, and the launch template version that AWS writes into the machine's tags."""
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    template = launch_template(aws, tags)
    profile = instance.get("IamInstanceProfile", {}).get("Arn")
    role = role_of(aws, profile)
    facts = Facts(
        instance_id=instance["InstanceId"],
        instance_type=instance["InstanceType"],
        image_id=instance["ImageId"],
        zone=instance["Placement"]["AvailabilityZone"],
        lifecycle=instance.get("InstanceLifecycle", "on-demand"),
        account="000000000000",
        private_ip=instance.get("PrivateIpAddress", ""),
        tags={k: v for k, v in tags.items() if shows_tags(template)},
        role=role["RoleName"] if role else None,
        profile_arn=profile,
        fetch=lambda: assume(aws, role["Arn"] if role else "", instance["InstanceId"]),
    )
    text = base64.b64decode(template.get("UserData", "")).decode()
    return Plan(facts, text, template.get("InstanceInitiatedShutdownBehavior", "stop") == "terminate", tags)


def launch_template(aws: Aws, tags: Mapping[str, str]) -> dict[str, Any]:
    key, version = tags.get("aws:ec2launchtemplate:id"), tags.get("aws:ec2launchtemplate:version")
    if not key or not version:
        return {}
    found = aws.client("ec2").describe_launch_template_versions(LaunchTemplateId=key, Versions=[version])
    return dict(found["LaunchTemplateVersions"][0]["LaunchTemplateData"])


def shows_tags(template: Mapping[str, Any]) -> bool:
    """EC2 shows a machine its tags only where the launch template says so."""
    return bool(template.get("MetadataOptions", {}).get("InstanceMetadataTags") == "enabled")


def role_of(aws: Aws, profile_arn: str | None) -> dict[str, Any] | None:
    """The profile's role, if it trusts EC2; a role that does not gives a machine no credentials."""
    if profile_arn is None:
        return None
    profile = aws.client("iam").get_instance_profile(InstanceProfileName=profile_arn.rsplit("/", 1)[-1])
    for role in profile["InstanceProfile"]["Roles"]:
        if "ec2.amazonaws.com" in str(role["AssumeRolePolicyDocument"]):
            return dict(role)
    return None


def assume(aws: Aws, role_arn: str, session: str) -> Credentials:
    got = aws.client("sts").assume_role(RoleArn=role_arn, RoleSessionName=session)["Credentials"]
    return Credentials(got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"], got["Expiration"])


def boot(plan: Plan, folder: Path, address: str, aws: Aws, state: Path) -> Machine:
    """Start the metadata service, then run the user data by its own first line."""
    for name in ("bin", "home", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("shutdown", "poweroff", "halt"):
        shim = folder / "bin" / name
        shim.write_text(SHUTDOWN.format(folder=folder))
        shim.chmod(0o755)
    docker = folder / "bin" / "docker"
    engine = engine_host(state)
    docker.write_text(machine_docker.shim(ROOT, engine))
    docker.chmod(0o755)
    script = folder / "user-data"
    script.write_text(plan.user_data)
    script.chmod(0o700)
    imds = Imds(plan.facts, address)
    process = leashed(
        interpreter(plan.user_data) + [str(script)],
        env=environment(folder, imds.endpoint, aws.endpoint, state),
        folder=folder / "home",
        output=folder / "console.log",
        grace=GRACE_SECONDS,
        stay=True,
    )
    return Machine(folder, imds, process, plan.terminates, engine)


def engine_host(state: Path) -> str:
    """The container engine that this local cloud runs its tasks on; "" where it runs them as processes."""
    try:
        known = json.loads((state / "cloud.json").read_text())
    except FileNotFoundError:
        return ""
    return str(known["engine_host"]) if known.get("engine") == DOCKER else ""


def interpreter(user_data: str) -> list[str]:
    """cloud-init runs user data that begins with #! by that program, and nothing else."""
    if not user_data.startswith("#!"):
        return ["/bin/true"]
    return user_data.splitlines()[0][2:].split()


def environment(folder: Path, imds: str, endpoint: str, state: Path) -> dict[str, str]:
    """The 'machine image': this Python's environment (torch, aws) stands for the AMI's. No AWS key is in it."""
    path = [str(folder / "bin"), str(Path(sys.executable).parent), "/usr/bin", "/bin"]
    return {
        "PATH": os.pathsep.join(path),
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "MPLCONFIGDIR": str(state / "fonts"),  # what plots would look for on every new machine
        "PIP_NO_INDEX": "1",  # a boot script may ask pip for what is there; it may not change this Python's environment
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": imds,
        "AWS_ENDPOINT_URL": endpoint,
        MARK: str(state),
    }


def console(folder: Path) -> str:
    log = folder / "console.log"
    return log.read_text(errors="replace") if log.exists() else ""


def terminate(aws: Aws, instance_id: str) -> None:
    """Also when somebody else was faster: a machine that is gone is what was wanted."""
    try:
        aws.client("ec2").terminate_instances(InstanceIds=[instance_id])
    except ClientError as fault:
        if fault.response["Error"]["Code"] != "InvalidInstanceID.NotFound":
            raise


def now() -> datetime:
    return datetime.now(UTC)
