"""What a boot script does with `docker`: it logs in with its role, and runs an image out of the registry."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import dockerfile, machine_docker
from local.aws import Aws
from local.events import Events
from local.images import PushRefused, publish
from local.machine import console
from local.machines import Machines
from local.processes import MARK, belonging_to, wait_until

REGISTRY = "000000000000.dkr.ecr.us-east-1.amazonaws.com"
PROGRAM = """
import json, os, signal, sys
print(json.dumps({"argv": sys.argv[1:], "here": os.getcwd(), "env": dict(os.environ)}), flush=True)
import boto3
print("who", boto3.client("sts", "us-east-1").get_caller_identity()["Arn"], flush=True)
if "wait" in sys.argv:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("asked to end", flush=True)))
    signal.pause()
sys.exit(7)
"""
DOCKERFILE = """
# a trainer
FROM python:3.12-slim
ENV MODE=quick PATH=/opt/bin:/usr/bin
RUN pip install \\
    numpy
WORKDIR /opt/trainer
COPY program.py more/*.txt ./
CMD ["python3", "program.py", "by default"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "trainer"
    (made / "more").mkdir(parents=True)
    (made / "program.py").write_text(PROGRAM)
    (made / "more" / "words.txt").write_text("hello")
    (made / "Dockerfile").write_text(DOCKERFILE)
    return made


@pytest.fixture
def image(aws: Aws, folder: Path) -> str:
    name = f"trainer-{uuid.uuid4().hex[:8]}"
    aws.client("ecr").create_repository(repositoryName=name)
    with aws.ambient():
        return f"{REGISTRY}/{name}@{publish(dockerfile.build(folder), name, 'v1')}"


@pytest.fixture
def machines(aws: Aws, tmp_path: Path) -> Iterator[Machines]:
    end_the_others(aws)
    machines = Machines(aws, tmp_path, Events(aws, tmp_path / "events.jsonl"))
    yield machines
    machines.end_all()
    assert belonging_to(tmp_path) == {}


def end_the_others(aws: Aws) -> None:
    """Machines that other tests left running in the same emulator would be booted first."""
    found = aws.client("ec2").describe_instances()["Reservations"]
    if ids := [
        each["InstanceId"] for group in found for each in group["Instances"] if each["State"]["Name"] == "running"
    ]:
        aws.client("ec2").terminate_instances(InstanceIds=ids)


def boot(aws: Aws, script: str) -> str:
    """A machine whose role may pull."""
    iam, name, ec2 = aws.client("iam"), uuid.uuid4().hex, aws.client("ec2")
    allow = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [allow]}))
    may = {"Effect": "Allow", "Action": ["ecr:*"], "Resource": "*"}
    iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=json.dumps({"Statement": [may]}))
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    data: Any = {
        "ImageId": "ami-1", "UserData": base64.b64encode(script.encode()).decode(),
        "InstanceInitiatedShutdownBehavior": "terminate", "IamInstanceProfile": {"Name": name},
        "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
    }  # fmt: skip
    made = ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)["LaunchTemplate"]
    spec = {"LaunchTemplateId": made["LaunchTemplateId"], "Version": "$Latest"}
    fleet = ec2.create_fleet(
        Type="instant",
        LaunchTemplateConfigs=[{"LaunchTemplateSpecification": spec, "Overrides": [{"InstanceType": "c6i.large"}]}],
        TargetCapacitySpecification={"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
    )
    return str(fleet["Instances"][0]["InstanceIds"][0])


def until(machines: Machines, key: str, words: str) -> str:
    """What the machine said when it had said these words."""

    def said() -> bool:
        machines.look()
        return words in console(machines.state / "machines" / key)

    wait_until(said, 30, f"{words!r} on the console")
    return console(machines.state / "machines" / key)


LOG_IN = f"""#!/bin/bash
export AWS_DEFAULT_REGION=us-east-1 TIDEGATE_RUN=r1 SECRET=mine
aws ecr get-login-password | docker login --username AWS --password-stdin {REGISTRY} || exit 1
"""


def test_an_image_runs_with_what_it_was_given_and_with_the_machines_role(
    aws: Aws, machines: Machines, image: str
) -> None:
    key = boot(
        aws, f"{LOG_IN}docker run --rm --network host -e TIDEGATE_RUN -e UNSET -e A=b=c {image}; echo ended with $?"
    )
    said = until(machines, key, "ended with 7")
    told = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    env = told["env"]
    assert told["argv"] == ["by default"] and told["here"].endswith("/rootfs/opt/trainer")
    assert (env["TIDEGATE_RUN"], env["A"], env["MODE"]) == ("r1", "b=c", "quick")
    assert not {"UNSET", "SECRET", "PYTHONPATH", "AWS_ACCESS_KEY_ID"} & set(env)
    assert f"/{key}" in said.partition("who ")[2]


def test_a_command_of_ones_own_and_sigterm_reach_the_program(aws: Aws, machines: Machines, image: str) -> None:
    key = boot(aws, f"{LOG_IN}docker run --rm --network host {image} python3 program.py wait")
    until(machines, key, "who ")
    aws.client("ec2").terminate_instances(InstanceIds=[key])
    until(machines, key, "asked to end")


def test_without_a_login_or_an_image_docker_says_so(aws: Aws, machines: Machines, image: str) -> None:
    script = f"""#!/bin/bash
docker pull {image}; echo first $?
{LOG_IN.partition(chr(10))[2]}docker run --rm --network host {REGISTRY}/no-such:v1; echo second $?"""
    said = until(machines, boot(aws, script), "second 125")
    assert "no basic auth credentials" in said.partition("first 125")[0]
    assert "no-such:v1 cannot be pulled" in said


def test_with_an_engine_docker_is_the_engines_own_client(tmp_path: Path) -> None:
    real = tmp_path / "usr-bin" / "docker"
    real.parent.mkdir()
    real.write_text('#!/bin/sh\necho "host $DOCKER_HOST: $*"; cat "$DOCKER_CONFIG/config.json"\n')
    real.chmod(real.stat().st_mode | stat.S_IXUSR)
    home = tmp_path / "machine" / "home"
    home.mkdir(parents=True)
    (home.parent / "bin").mkdir()
    (home.parent / "bin" / "docker").write_text("")
    machine_docker.log_in(home, REGISTRY, "AWS", "secret")
    env = {
        "HOME": str(home), "PATH": f"{home.parent / 'bin'}:{real.parent}:{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4600", machine_docker.HOST: "unix:///engine",
        MARK: "/state",
        "PYTHONPATH": str(Path(machine_docker.__file__).parents[1]),
    }  # fmt: skip
    words = ["run", "--rm", "--network", "host", "--gpus", "all", "-e", "A=b", f"{REGISTRY}/mine:v1", "train"]
    ran = subprocess.run(
        [sys.executable, "-m", "local.machine_docker", *words], env=env, capture_output=True, text=True, check=True
    )
    said, config = ran.stdout.split("\n", 1)
    assert said.startswith("host unix:///engine: run --rm --network host --label tidegate.local=/state --label ")
    assert f"tidegate.machine={home.parent} --env A=b" in said
    assert said.endswith("localhost:4600/mine:v1 train")
    assert json.loads(config) == {"auths": {"localhost:4600": {"auth": base64.b64encode(b"AWS:secret").decode()}}}


@pytest.mark.parametrize(
    "text, word",
    [
        ("FROM a\nCOPY --from=build /x /x", "several stages"),
        ("FROM a\nCOPY gone.py .", "gone.py"),
        ("FROM a\nONBUILD RUN x", "ONBUILD"),
        ("FROM a\nCMD [python", "JSON"),
    ],
)
def test_what_cannot_be_built_without_an_engine_is_refused(folder: Path, text: str, word: str) -> None:
    (folder / "Dockerfile").write_text(text)
    with pytest.raises(PushRefused, match=word):
        dockerfile.build(folder)


def test_the_same_folder_gives_the_same_digest(folder: Path) -> None:
    first = dockerfile.build(folder).digest
    assert dockerfile.build(folder).digest == first
    (folder / "more" / "words.txt").write_text("other")
    assert dockerfile.build(folder).digest != first
