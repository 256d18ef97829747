"""The real `sam` as it is run here: with the settings of the local environment, and its errors in a sentence."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class DeployFault(Exception):
    """The stack was not deployed; the message says why and what to do."""


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


def cause(output: str) -> str:
    """What sam calls an error, with the lines below it, where the cause stands."""
    said = [line.strip() for line in output.splitlines() if line.strip()] or ["it said nothing"]
    at = next((number for number, line in enumerate(said) if line.startswith(("Error", "Build Failed"))), -1)
    return " ".join(said[at:])[:600]
