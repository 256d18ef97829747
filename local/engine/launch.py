"""How a container starts: as a process out of the image's unpacked layers, or as a container of a real engine.

Both give a command that lives as long as the container does, takes SIGTERM for it, writes its log and ends with its
exit code. So everything else (health, watch, stop, logs) is the same for both.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from local.engine.docker import LABEL, Docker, EngineFault, last_word
from local.engine.environment import Cloud, Place, in_image, pairs, process_environment, task_environment
from local.engine.images import Image, Images, NoSuchImage
from local.engine.registry import Registry

log = logging.getLogger("tidegate.engine")


@dataclass(frozen=True)
class Launch:
    command: list[str]
    env: dict[str, str]
    cwd: Path


class Launcher(Protocol):
    def prepare(
        self, image: Image, command: list[str], env: Mapping[str, str], place: Place, credentials: str | None
    ) -> Launch:
        """Lay out what the container needs and say how to start it. It may take seconds."""

    def ended(self, place: Place) -> None:
        """The command ended, in any way: take away what may be left of the container."""

    def close(self) -> None:
        """Nothing will be started any more."""


class Processes:
    def __init__(self, images: Images, cloud: Cloud) -> None:
        self._images, self._cloud = images, cloud

    def prepare(
        self, image: Image, command: list[str], env: Mapping[str, str], place: Place, credentials: str | None
    ) -> Launch:
        self._images.unpack(image, place.rootfs)
        for name in ("home", "tmp"):
            (place.folder / name).mkdir()
        workdir = image.settings.get("WorkingDir") or "/"
        cwd = place.rootfs / workdir.lstrip("/")
        cwd.mkdir(parents=True, exist_ok=True)
        settings = process_environment(pairs(image.settings.get("Env")), env, place, workdir, self._cloud, credentials)
        return Launch(in_image(command, place.rootfs), settings, cwd)

    def ended(self, place: Place) -> None:
        """The leash ended all of it."""

    def close(self) -> None:
        """Nothing is left of a process."""


class EngineContainers:
    """Containers on the host's network, so that they have the same addresses and reach the same emulator.

    Nothing may be written but /tmp, no capability is left, and the image's own user runs it.
    """

    def __init__(self, docker: Docker, state: Path, registry: str, cloud: Cloud) -> None:
        self._docker, self._state, self._registry, self._cloud = docker, state, registry, cloud
        self._repositories: set[str] = set()
        docker.remove_containers(state)

    def pull(self, registry: Registry, repository: str, digest: str) -> None:
        self._docker.log_in(self._registry, registry.authorization)
        try:
            self._docker("pull", "--quiet", self._reference(repository, digest), seconds=None)
        except EngineFault as fault:
            raise NoSuchImage(f"{repository}@{digest} cannot be pulled. {fault}") from fault
        self._repositories.add(repository)

    def prepare(
        self, image: Image, command: list[str], env: Mapping[str, str], place: Place, credentials: str | None
    ) -> Launch:
        if image.digest is None:
            raise NoSuchImage(f"{image.repository} was not pulled.")
        place.folder.mkdir(parents=True)
        settings = task_environment(env, place, self._cloud, credentials)
        options = [
            "--rm", "--pull", "never",
            "--name", name_of(place),
            "--label", f"{LABEL}={self._state}",
            "--network", "host",
            "--read-only", "--tmpfs", "/tmp",
            "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
            "--no-healthcheck",  # as ECS does: the task definition's and the target group's checks count
            "--entrypoint", command[0],
        ]  # fmt: skip
        for name, value in settings.items():
            options += ["--env", f"{name}={value}"]
        return Launch(
            ["docker", "run", *options, self._reference(image.repository, image.digest), *command[1:]],
            {**self._docker.environment, **self._cloud.mark},
            place.folder,
        )

    def ended(self, place: Place) -> None:
        try:
            self._docker("rm", "--force", name_of(place))
        except EngineFault as fault:
            gone = ("No such container", "already in progress")
            if not any(words in str(fault) for words in gone):
                log.warning("The container %s may be left over. %s", name_of(place), fault)

    def close(self) -> None:
        """Remove every container of this local cloud, and the names of the images that were pulled for it."""
        try:
            self._docker.remove_containers(self._state)
        except EngineFault as fault:
            log.warning("Containers may be left over. %s", fault)
        for repository in self._repositories:
            # An image that somebody runs by hand stays; that is theirs.
            with contextlib.suppress(EngineFault):
                self._forget(f"{self._registry}/{repository}")

    def _forget(self, name: str) -> None:
        listed = self._docker("image", "ls", "--digests", "--format", "{{.Tag}} {{.Digest}}", name)
        for tag, digest in (line.split() for line in listed.splitlines()):
            self._docker("image", "rm", "--no-prune", f"{name}@{digest}" if tag == "<none>" else f"{name}:{tag}")

    def _reference(self, repository: str, digest: str) -> str:
        return f"{self._registry}/{repository}@{digest}"


def name_of(place: Place) -> str:
    return f"tidegate-{place.id[:12]}"


def last_line(path: Path) -> str:
    """The last line of a container's log that says something, for an error that a person reads."""
    said = path.read_text(errors="replace") if path.exists() else ""
    return last_word(said) if said.strip() else "nothing was logged"
