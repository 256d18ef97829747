"""The `docker` of a machine of the local cloud: `docker login`, `docker pull`, `docker run`.

The image comes out of the local cloud's registry, by the login that the machine's role was given. Without a container
engine `docker run` unpacks it and becomes its process; with one, it becomes the engine's own client. Promise: the
program sees its image's settings, the variables that it was given, and the way to the local cloud's API and metadata
(which on EC2 is the network); nothing else of the machine or of the person who runs it.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from local.engine.docker import LABEL, MACHINE_LABEL
from local.engine.environment import Place, in_image, pairs, search_path
from local.engine.images import Images, NoSuchImage, Reference, parse
from local.engine.registry import Registry
from local.processes import MARK

NETWORK = ("AWS_ENDPOINT_URL", "AWS_EC2_METADATA_SERVICE_ENDPOINT", MARK)
SHIM = """#!/bin/sh
# Stands for docker(1) on a machine of the local cloud.
PYTHONPATH={root} TIDEGATE_DOCKER_HOST={host} exec {python} -m local.machine_docker "$@"
"""
HOST = "TIDEGATE_DOCKER_HOST"  # the container engine to use; empty: run images as processes


class Refused(Exception):
    """What docker would have said before it ended with an error."""


def shim(root: Path, host: str) -> str:
    return SHIM.format(root=root, host=host, python=sys.executable)


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="docker", description="docker, as far as a machine of the local cloud has it.")
    commands = root.add_subparsers(dest="command", required=True)
    login = commands.add_parser("login")
    login.add_argument("-u", "--username", required=True)
    login.add_argument("--password-stdin", action="store_true", required=True)
    login.add_argument("registry")
    pull = commands.add_parser("pull")
    pull.add_argument("-q", "--quiet", action="store_true")
    pull.add_argument("image")
    run = commands.add_parser("run")
    run.add_argument("--rm", action="store_true")
    run.add_argument("--network", "--net", choices=["host"], default="host")
    run.add_argument("-e", "--env", action="append", default=[], metavar="NAME[=VALUE]")
    run.add_argument("--name")
    run.add_argument("--pull", default="missing")
    for ignored in ("--gpus", "--ipc", "--shm-size"):  # this machine has no such device
        run.add_argument(ignored)
    run.add_argument("image")
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    return root


def main(words: Sequence[str], env: Mapping[str, str]) -> int:
    given = parser().parse_args(words)
    home = Path(env["HOME"])
    try:
        if given.command == "login":
            log_in(home, given.registry, given.username, sys.stdin.read().strip())
            print("Login Succeeded")
        elif given.command == "pull":
            if env.get(HOST):
                become(engine_client(env), ["docker", "pull", reachable(given.image, env)], engine_environment(env))
            print(f"Digest: {images(home, env, parse(given.image)).pull(given.image).digest}")
        else:
            run(given, home, env)
    except (Refused, NoSuchImage) as fault:
        print(f"docker: {fault}", file=sys.stderr)
        return 125  # as docker does when the fault is its own and not the container's
    return 0


def log_in(home: Path, registry: str, user: str, password: str) -> None:
    path = home / ".docker" / "config.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = logins(home)
    path.touch(mode=0o600)
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    path.write_text(json.dumps({"auths": {**known, registry.removeprefix("https://"): {"auth": auth}}}))


def logins(home: Path) -> dict[str, dict[str, str]]:
    try:
        return dict(json.loads((home / ".docker" / "config.json").read_text())["auths"])
    except FileNotFoundError:
        return {}


def images(home: Path, env: Mapping[str, str], reference: Reference) -> Images:
    known = logins(home)
    if reference.registry not in known:
        raise Refused(f"no basic auth credentials for {reference.registry or 'a public registry'}. Log in first.")
    registry = Registry(env["AWS_ENDPOINT_URL"], reference.registry, known[reference.registry]["auth"])
    return Images(home / ".docker" / "images", lambda: registry, [])


def run(given: argparse.Namespace, home: Path, env: Mapping[str, str]) -> NoReturn:
    own = variables(given.env, env)
    if env.get(HOST):
        flags = [word for name, value in {**own, **network(env)}.items() for word in ("--env", f"{name}={value}")]
        labels = ["--label", f"{LABEL}={env[MARK]}", "--label", f"{MACHINE_LABEL}={home.parent}"]
        words = ["docker", "run", "--rm", "--network", "host", *labels, *flags]
        become(engine_client(env), [*words, reachable(given.image, env), *given.words], engine_environment(env), home)
    image = images(home, env, parse(given.image)).pull(given.image)
    identity = secrets.token_hex(8)
    place = Place(identity, home / ".docker" / "containers" / identity, "127.0.0.1")
    images(home, env, parse(given.image)).unpack(image, place.rootfs)
    for name in ("home", "tmp"):
        (place.folder / name).mkdir()
    settings = image.settings
    argv = [*(settings.get("Entrypoint") or []), *(given.words or settings.get("Cmd") or [])]
    if not argv:
        raise Refused(f"{given.image} says no command and none was given.")
    workdir = settings.get("WorkingDir") or "/"
    cwd = place.rootfs / workdir.lstrip("/")
    cwd.mkdir(parents=True, exist_ok=True)
    of_image = pairs(settings.get("Env"))
    environment = {"LANG": "C.UTF-8", **of_image, **own, **network(env)} | {
        "PATH": search_path(of_image.get("PATH", ""), place.rootfs, workdir),
        "HOME": str(place.folder / "home"),
        "TMPDIR": str(place.folder / "tmp"),
        "HOSTNAME": identity,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    program, *rest = in_image(argv, place.rootfs)
    become(program, [program, *rest], environment, cwd)


def variables(given: Sequence[str], env: Mapping[str, str]) -> dict[str, str]:
    """NAME=value as it stands; NAME alone is the machine's own value, and nothing where it has none."""
    named = {name: value if sign else env.get(name) for name, sign, value in (word.partition("=") for word in given)}
    return {name: value for name, value in named.items() if value is not None}


def network(env: Mapping[str, str]) -> dict[str, str]:
    return {name: env[name] for name in NETWORK if name in env}


def reachable(image: str, env: Mapping[str, str]) -> str:
    """An engine trusts a registry without TLS on localhost alone, which is where ECR answers here."""
    reference = parse(image)
    port = env["AWS_ENDPOINT_URL"].rpartition(":")[2]
    return str(Reference(f"localhost:{port}", reference.repository, reference.version))


def engine_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The login was for ECR's name; the engine asks for it under localhost."""
    home, port = Path(env["HOME"]), env["AWS_ENDPOINT_URL"].rpartition(":")[2]
    config = home / ".docker" / "engine"
    config.mkdir(parents=True, exist_ok=True)
    auths = {f"localhost:{port}": auth for auth in logins(home).values()}
    (config / "config.json").touch(mode=0o600)
    (config / "config.json").write_text(json.dumps({"auths": auths}))
    return {"PATH": env["PATH"], "HOME": env["HOME"], "DOCKER_HOST": env[HOST], "DOCKER_CONFIG": str(config),
            MARK: env[MARK]}  # fmt: skip


def engine_client(env: Mapping[str, str]) -> str:
    """The machine's real docker: the first on the PATH that is not this one."""
    own = Path(env["HOME"]).parent / "bin"
    for folder in env["PATH"].split(os.pathsep):
        if Path(folder) != own and (Path(folder) / "docker").exists():
            return str(Path(folder) / "docker")
    raise Refused("there is no docker client on this machine.")


def become(program: str, argv: Sequence[str], env: Mapping[str, str], cwd: Path | None = None) -> NoReturn:
    if cwd is not None:
        os.chdir(cwd)
    try:
        os.execvpe(program, list(argv), dict(env))
    except OSError as fault:
        raise Refused(f"{argv[0]} cannot be started: {fault.strerror}.") from fault


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
