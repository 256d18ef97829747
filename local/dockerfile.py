"""An image from a folder with a Dockerfile, where no container engine is installed.

What a Dockerfile of one stage copies and sets is in the image; what it runs (`RUN pip install …`) is not: the image
runs on the packages of the virtual environment, and its label says so. What cannot be built so is refused, by name.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from local.images import LEFT_OUT, Built, File, PushRefused, assemble

SETTINGS = ("CMD", "ENTRYPOINT")
WITHOUT_EFFECT = ("FROM", "RUN", "ARG", "EXPOSE", "USER", "HEALTHCHECK", "STOPSIGNAL", "SHELL", "VOLUME", "MAINTAINER")


@dataclass
class Stage:
    """What the instructions so far have made."""

    folder: Path
    files: dict[str, File] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    workdir: PurePosixPath = PurePosixPath("/")

    def obey(self, name: str, rest: str) -> None:
        if name == "WORKDIR":
            self.workdir = self.workdir / rest
        elif name == "ENV":
            self.env |= dict(word.split("=", 1) for word in shlex.split(rest))
        elif name == "LABEL":
            self.settings["Labels"] = {**self.settings.get("Labels", {}), **dict(pair(w) for w in shlex.split(rest))}
        elif name in SETTINGS:
            self.settings[name.capitalize()] = command(name, rest)
        elif name in ("COPY", "ADD"):
            self.copy(shlex.split(rest))
        elif name not in WITHOUT_EFFECT:
            raise PushRefused(f"{self.folder}/Dockerfile says {name}, which cannot be built without an engine.")

    def copy(self, words: list[str]) -> None:
        if any(word.startswith("--from") for word in words):
            raise PushRefused(f"{self.folder}/Dockerfile has several stages; without an engine only one can be built.")
        *sources, target = [word for word in words if not word.startswith("--")]
        into = target.endswith(("/", ".")) or len(sources) > 1
        for source in sources:
            found = sorted(self.folder.glob(source)) if "*" in source else [self.folder / source]
            for path in found:
                if not path.exists():
                    raise PushRefused(f"{self.folder}/Dockerfile copies {source}, which is not there.")
                self.put(path, self.workdir / target / path.name if into and path.is_file() else self.workdir / target)

    def put(self, path: Path, place: PurePosixPath) -> None:
        for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if each.is_file() and not any(part in LEFT_OUT for part in each.parts):
                name = place / each.relative_to(path) if path.is_dir() else place
                self.files[str(name).lstrip("/")] = File(each.read_bytes(), bool(each.stat().st_mode & 0o100))


def build(folder: Path) -> Built:
    """The image of the folder's Dockerfile. Raises PushRefused."""
    path = folder / "Dockerfile"
    if not path.exists():
        raise PushRefused(f"{folder} has no Dockerfile.")
    stage = Stage(folder)
    for name, rest in instructions(path.read_text()):
        stage.obey(name, rest)
    labels = {**stage.settings.pop("Labels", {}), "tidegate.dependencies": "of the virtual environment that runs it"}
    config = {
        **stage.settings,
        "Env": [f"{name}={value}" for name, value in stage.env.items()],
        "WorkingDir": str(stage.workdir),
        "Labels": labels,
    }
    return assemble(stage.files, config, f"Dockerfile of {folder.name}")


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction with its words; comments are left out, and lines that go on are joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        yield name.upper(), rest.strip()


def command(name: str, rest: str) -> list[str]:
    if not rest.startswith("["):
        return ["/bin/sh", "-c", rest]
    try:
        return [str(word) for word in json.loads(rest)]
    except ValueError as fault:
        raise PushRefused(f"{name} {rest} is neither a JSON list nor a command.") from fault


def pair(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value
