"""What a container's process sees: the image's settings and its task's, and nothing of the user's environment."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
NOT_FOR_TASKS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    # The emulator's own credentials path holds keys that it does not accept itself.
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
)
# Under this name a container on a bridge network reaches its host; a process is already there.
HOST_FROM_A_CONTAINER = "http://host.docker.internal"


@dataclass(frozen=True)
class Place:
    """Where one container lives."""

    id: str
    folder: Path
    address: str

    @property
    def rootfs(self) -> Path:
        return self.folder / "rootfs"


@dataclass(frozen=True)
class Cloud:
    endpoint: str
    region: str
    mark: Mapping[str, str] = field(default_factory=dict)  # by which leftovers of this local cloud are found


def process_environment(
    image: Mapping[str, str], task: Mapping[str, str], place: Place, workdir: str, cloud: Cloud, credentials: str | None
) -> dict[str, str]:
    """For a process out of the image's files: what an engine would set itself, set by us."""
    return task_environment({"LANG": "C.UTF-8", **image, **task}, place, cloud, credentials) | {
        "PATH": search_path(image.get("PATH", ""), place.rootfs, workdir),
        "HOME": str(place.folder / "home"),
        "TMPDIR": str(place.folder / "tmp"),
        "HOSTNAME": place.id[:12],
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def task_environment(given: Mapping[str, str], place: Place, cloud: Cloud, credentials: str | None) -> dict[str, str]:
    """What a task gets wherever it runs: its own settings, its address, and the way to the emulator."""
    mine = dict(given)
    for name in NOT_FOR_TASKS:
        mine.pop(name, None)
    metadata = mine.get("ECS_CONTAINER_METADATA_URI_V4", "")
    if metadata.startswith(HOST_FROM_A_CONTAINER):
        mine["ECS_CONTAINER_METADATA_URI_V4"] = cloud.endpoint + "/v4/" + metadata.partition("/v4/")[2]
    mine |= {
        "BIND_ADDRESS": place.address,
        "AWS_ENDPOINT_URL": cloud.endpoint,
        "AWS_REGION": cloud.region,
        "AWS_DEFAULT_REGION": cloud.region,
        # Fargate has no instance metadata either; without this an SDK would spend seconds looking for it.
        "AWS_EC2_METADATA_DISABLED": "true",
        **cloud.mark,
    }
    if credentials:
        mine["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = credentials
    return mine


def search_path(image_path: str, rootfs: Path, workdir: str) -> str:
    """The virtual environment's programs, then the image's, then the system's."""
    of_image = [*image_path.split(":"), workdir]
    within = [str(rootfs / entry.lstrip("/")) for entry in of_image if entry and (rootfs / entry.lstrip("/")).is_dir()]
    return ":".join(dict.fromkeys([str(Path(sys.executable).parent), *within, *SYSTEM_PATH.split(":")]))


def in_image(command: list[str], rootfs: Path) -> list[str]:
    """The command with its program, if that is named by its place in the image, found in the unpacked image."""
    program = rootfs / command[0].lstrip("/")
    return [str(program), *command[1:]] if command[0].startswith("/") and program.exists() else command


def pairs(entries: list[str] | None) -> dict[str, str]:
    return {name: value for name, _, value in (entry.partition("=") for entry in entries or [])}


def architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
