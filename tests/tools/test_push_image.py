"""tools/push_image.sh with programs that only write down how they were called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "push_image.sh"
FAKE = """#!/bin/bash
echo "$(basename "$0") $*" >> "$CALLS"
case "$(basename "$0") $*" in
  "aws ecr get-login-password") echo secret;;
  docker\\ login*) read -r word; [ "$word" = secret ];;
  docker\\ manifest*) exit "$KNOWN";;
esac
"""
REPOSITORY = "1.dkr.ecr.eu-west-1.amazonaws.com/tidegate-dev/inference"


def push(folder: Path, *arguments: str, known: bool = False) -> tuple[int, list[str], str]:
    for name in ("aws", "docker"):
        (folder / name).write_text(FAKE)
        (folder / name).chmod(0o755)
    environment = {
        "PATH": f"{folder}:{os.defpath}",
        "CALLS": str(folder / "calls"),
        "KNOWN": "0" if known else "1",
    }
    ran = subprocess.run([SCRIPT, *arguments], env=environment, capture_output=True, text=True, check=False)
    calls = (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []
    return ran.returncode, calls, ran.stdout + ran.stderr


def test_it_logs_in_builds_without_attestations_and_pushes_under_the_one_tag(tmp_path: Path) -> None:
    code, calls, _ = push(tmp_path, REPOSITORY, "abc")
    assert code == 0
    assert "docker login --username AWS --password-stdin 1.dkr.ecr.eu-west-1.amazonaws.com" in calls
    [built] = [call for call in calls if call.startswith("docker buildx build")]
    assert "--provenance=false --sbom=false" in built and "--platform linux/amd64" in built
    assert built.endswith(f"--tag {REPOSITORY}:abc --push inference_image")


def test_a_tag_that_is_there_is_not_built_again(tmp_path: Path) -> None:
    code, calls, said = push(tmp_path, REPOSITORY, "abc", known=True)
    assert code == 0 and "there already" in said
    assert not [call for call in calls if "build" in call]


def test_without_a_repository_or_a_tag_it_says_what_to_give(tmp_path: Path) -> None:
    for arguments in (("", ""), (REPOSITORY, "")):
        code, calls, said = push(tmp_path, *arguments)
        assert code != 0 and not calls and "make push-image" in said
