"""What a machine does when it boots: the script is run, with programs that only write down how they were called."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.architecture.cloudformation import RESOURCES

SCRIPT: str = RESOURCES["MachineTemplate"]["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]["Fn::Sub"]
STACK = {
    "MaxRunHours": "4",
    "AWS::Region": "eu-west-1",
    "Bucket": "data",
    "TrainerCode": "arn:layer:7",
    "TrainerImage": "",
}
IMAGE = "1.dkr.ecr.eu-west-1.amazonaws.com/team/bayes:v1"
FACTS = {
    "tags/instance/tidegate:run": "films-1",
    "tags/instance/tidegate:attempt": "2",
    "instance-id": "i-1",
    "instance-type": "c6i.large",
    "placement/availability-zone": "eu-west-1a",
    "instance-life-cycle": "spot",
}
FAKE = r"""#!/bin/bash
echo "$(basename "$0") $*" >> "$CALLS"
case "$(basename "$0") $*" in
  curl*latest/api/token*) echo token;;
  curl*latest/meta-data/*) cat "$FACTS/$(echo "${@: -1}" | sed 's|.*/meta-data/||; s|/|_|g')";;
  "aws s3 cp"*spec.json*) echo "{}";;
  "aws s3 cp"*boot.log*) exit "$KEEPS";;
  python3\ -c*) cat > /dev/null; echo "$RECIPE";;
  docker\ login*) cat > /dev/null;;
  python3\ -m\ zipfile*) mkdir -p trainer && touch trainer/requirements.txt trainer/requirements-transformer.txt;;
  python3\ -m\ trainer.present*) exit "$LACKS";;
  python3\ -m\ trainer) exit "$ENDS";;
  docker\ run*) env | grep -E "^(TIDEGATE_|AWS_)" >> "$CALLS"; exit "$ENDS";;
  nvidia-smi*) exit "$GPU";;
esac
"""


@dataclass(frozen=True)
class Booted:
    calls: list[str]
    log: str


def rendered(stack: Mapping[str, str]) -> str:
    """As CloudFormation's Fn::Sub does it."""
    text = re.sub(r"\$\{([A-Za-z:]+)\}", lambda found: stack[found[1]], SCRIPT)
    return text.replace("${!", "${")


def boot(
    folder: Path,
    *,
    image: str = "",
    ends: int = 0,
    recipe: str = "linear",
    gpu: bool = False,
    keeps: int = 0,
    lacks: bool = True,
) -> Booted:
    (folder / "bin").mkdir()
    (folder / "facts").mkdir()
    for name in ("curl", "aws", "docker", "shutdown", "python3", "nvidia-smi"):
        (folder / "bin" / name).write_text(FAKE)
        (folder / "bin" / name).chmod(0o755)
    for path, value in FACTS.items():
        (folder / "facts" / path.replace("/", "_")).write_text(value)
    environment = {
        "PATH": f"{folder / 'bin'}:{os.defpath}",
        "CALLS": str(folder / "calls"),
        "FACTS": str(folder / "facts"),
        "RECIPE": recipe,
        "ENDS": str(ends),
        "KEEPS": str(keeps),
        "LACKS": str(int(lacks)),
        "GPU": "0" if gpu else "9",
        "TMPDIR": str(folder),
        "SECRET": "of the machine",
    }
    script = folder / "user-data"
    script.write_text(rendered({**STACK, "TrainerImage": image}))
    ran = subprocess.run(["bash", script], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ran.stderr == ""
    return Booted((folder / "calls").read_text().splitlines(), ran.stdout)


@pytest.mark.parametrize("image", ["", IMAGE])
def test_it_is_bash(tmp_path: Path, image: str) -> None:
    script = tmp_path / "user-data"
    script.write_text(rendered({**STACK, "TrainerImage": image}))
    subprocess.run(["bash", "-n", script], check=True)


def test_the_timer_is_its_first_line() -> None:
    assert SCRIPT.splitlines()[1].startswith("shutdown -h +$((${MaxRunHours} * 60))")


@pytest.mark.parametrize("image", ["", IMAGE])
@pytest.mark.parametrize("ends", [0, 3, 4, 5, 137])
def test_however_the_trainer_ends_its_log_is_kept_and_the_machine_ends(tmp_path: Path, ends: int, image: str) -> None:
    booted = boot(tmp_path, image=image, ends=ends)
    assert booted.calls[0] == "shutdown -h +240"
    assert booted.calls[-2:] == [
        "aws s3 cp --only-show-errors boot.log s3://data/logs/films-1/2/boot.log",
        "shutdown -h now",
    ]
    assert f"trainer ended with exit code {ends}" in booted.log


@pytest.mark.parametrize("image", ["", IMAGE])
def test_the_machine_ends_even_if_its_log_cannot_be_kept(tmp_path: Path, image: str) -> None:
    assert boot(tmp_path, image=image, ends=1, keeps=1).calls[-1] == "shutdown -h now"


def test_our_trainer_gets_what_its_recipe_needs_and_no_more(tmp_path: Path) -> None:
    linear, transformer = tmp_path / "linear", tmp_path / "transformer"
    for folder in (linear, transformer):
        folder.mkdir()
        booted = boot(folder, recipe=folder.name)
        lists = [call.split(" -r ")[1] for call in booted.calls if " pip install " in call]
        more = ["trainer/requirements-transformer.txt"] if folder is transformer else []
        assert lists == ["trainer/requirements.txt", *more]
        assert "python3 -m trainer" in booted.calls
        assert not [call for call in booted.calls if call.startswith("docker")]


def test_where_all_of_it_is_installed_nothing_is_asked_for(tmp_path: Path) -> None:
    calls = boot(tmp_path, recipe="transformer", lacks=False).calls
    asked = [call.split()[-1] for call in calls if " trainer.present " in call]
    assert asked == ["trainer/requirements.txt", "trainer/requirements-transformer.txt"]
    assert not [call for call in calls if " pip " in call] and "python3 -m trainer" in calls


def test_an_image_of_somebody_else_gets_the_contracts_variables_and_nothing_of_ours(tmp_path: Path) -> None:
    booted = boot(tmp_path, image=IMAGE)
    assert "docker login --username AWS --password-stdin 1.dkr.ecr.eu-west-1.amazonaws.com" in booted.calls
    [run] = [call for call in booted.calls if call.startswith("docker run")]
    names = re.findall(r" -e (\w+)", run)
    assert set(names) == {
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "TIDEGATE_ATTEMPT",
        "TIDEGATE_BUCKET",
        "TIDEGATE_MACHINE_ID",
        "TIDEGATE_MACHINE_LIFECYCLE",
        "TIDEGATE_MACHINE_TYPE",
        "TIDEGATE_MACHINE_ZONE",
        "TIDEGATE_RUN",
        "TIDEGATE_TRAINER_VERSION",
        "TIDEGATE_MACHINE_STARTED",
        "TIDEGATE_WATCH_MACHINE",
    }
    assert run == f"docker run --rm --network host {' '.join(f'-e {name}' for name in names)} {IMAGE}"
    assert f"TIDEGATE_TRAINER_VERSION={IMAGE}" in booted.calls
    assert "TIDEGATE_ATTEMPT=2" in booted.calls
    assert "python3 -m trainer" not in booted.calls


def test_where_a_gpu_answers_the_image_gets_it(tmp_path: Path) -> None:
    [run] = [call for call in boot(tmp_path, image=IMAGE, gpu=True).calls if call.startswith("docker run")]
    assert f"--gpus all {IMAGE}" in run
