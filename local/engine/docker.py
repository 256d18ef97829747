"""The container engine of this machine, by its own client: whether it can be used, and the calls that we make of it.

Promise: the user's docker logins are neither read nor changed, because the configuration is a folder of our own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

LABEL = "tidegate.local"  # on every container of a local cloud; its value is the state folder
MACHINE_LABEL = "tidegate.machine"  # on those that a training machine started; its value is the machine's folder
UNIX = "unix://"
DEFAULT_HOST = "unix:///var/run/docker.sock"
PROBE_SECONDS = 10.0
SECONDS_PER_CALL = 120.0
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
PROCESS, DOCKER = "process", "docker"


class EngineFault(Exception):
    """The engine refused, or cannot be used; the message says why."""


@dataclass(frozen=True)
class Choice:
    """How tasks run: as `docker` containers or as a `process` each, and why."""

    engine: str
    why: str
    host: str


@dataclass(frozen=True)
class Docker:
    host: str
    config: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", SYSTEM_PATH),
            "HOME": str(self.config),
            "DOCKER_HOST": self.host,
            "DOCKER_CONFIG": str(self.config),
            # An attestation would turn the pushed image into an index of several.
            "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        }

    def log_in(self, registry: str, authorization: str) -> None:
        """Remember a registry's login: what ECR calls its authorization token."""
        self.config.mkdir(parents=True, exist_ok=True)
        path = self.config / "config.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"auths": {registry: {"auth": authorization}}}))

    def __call__(self, *arguments: str, seconds: float | None = SECONDS_PER_CALL) -> str:
        """What `docker` printed. Raises EngineFault with its last word."""
        try:
            done = subprocess.run(
                ["docker", *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except FileNotFoundError as fault:
            raise EngineFault("There is no `docker` command. Install the docker client.") from fault
        except subprocess.TimeoutExpired as fault:
            raise EngineFault(f"`docker {arguments[0]}` did not end within {fault.timeout:g} s.") from fault
        if done.returncode:
            raise EngineFault(f"`docker {arguments[0]}` failed: {last_word(done.stderr)}")
        return done.stdout

    def remove_containers(self, state: Path, label: str = LABEL) -> None:
        """Remove every container of the local cloud with this state folder, or of whatever else the label says."""
        found = self("ps", "--all", "--quiet", "--filter", f"label={label}={state}").split()
        if found:
            self("rm", "--force", *found)


def choose(environment: Mapping[str, str], unusable: Callable[[str], str | None]) -> Choice:
    """TIDEGATE_ENGINE decides; without it, containers where an engine can be used. `unusable` says why one cannot."""
    wanted = environment.get("TIDEGATE_ENGINE", "")
    host = environment.get("DOCKER_HOST") or DEFAULT_HOST
    if wanted not in ("", PROCESS, DOCKER):
        raise EngineFault(f"TIDEGATE_ENGINE is {wanted!r}. Say docker or process, or unset it.")
    if wanted == PROCESS:
        return Choice(PROCESS, "TIDEGATE_ENGINE says so", host)
    fault = unusable(host)
    if fault is None:
        return Choice(DOCKER, f"an engine answers at {host}", host)
    if wanted == DOCKER:
        raise EngineFault(f"TIDEGATE_ENGINE is docker, but {fault}. Mend that, or say TIDEGATE_ENGINE=process.")
    return Choice(PROCESS, fault, host)


def unusable(host: str, search: str | None = None) -> str | None:
    """Why tasks cannot run as containers of this engine; None when they can."""
    if not host.startswith(UNIX):
        return f"DOCKER_HOST is {host}, and only an engine of this machine (unix://…) shares its loopback addresses"
    if not Path(host.removeprefix(UNIX)).exists():
        return f"no container engine answers at {host}"
    if shutil.which("docker", path=search) is None:
        return f"there is no `docker` command on {search or 'the PATH'}"
    try:
        told = json.loads(Docker(host, Path(os.devnull))("info", "--format", "{{json .}}", seconds=PROBE_SECONDS))
    except (EngineFault, ValueError):
        told = {}
    if not told.get("ServerVersion"):
        return f"no container engine answers at {host}"
    if told.get("OperatingSystem") == "Docker Desktop":
        return "Docker Desktop runs containers in a virtual machine, which does not share our loopback addresses"
    if any("rootless" in option for option in told.get("SecurityOptions") or []):
        return "the engine is rootless, and its containers do not share our loopback addresses"
    return None


def last_word(said: str) -> str:
    """The last line that says something; the client's advice to read its help does not."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Run 'docker", "See 'docker"))]
    return telling[-1] if telling else "it said nothing"
