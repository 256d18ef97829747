"""The one process that the local cloud hangs on: `python -m local.supervisor --state FOLDER --port N --region R`.

It starts the parts in order, writes `cloud.json` as it goes, and waits. Promise: when it ends, by SIGTERM, by a fault
or by SIGKILL, no part is left. One part that ends by itself ends the whole cloud, with the reason in `cloud.json`:
half a cloud would only look like a fault in the stack.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from local.account import use_spot_once
from local.aws import KEY, SECRET, Aws
from local.engine.docker import DOCKER, Choice, EngineFault, choose, unusable
from local.processes import MARK, NotInTime, free_port, last_line, leashed, started_at, wait_until

ROOT = Path(__file__).resolve().parent.parent
PLACEHOLDER_IMAGES = ("public.ecr.aws/docker/library/python:3.12-slim",)
PASSED_ON = (
    "TIDEGATE_NOTICE_SECONDS",
    "TIDEGATE_MINUTE_SECONDS",
    "TIDEGATE_HEALTH_SECONDS",
    "TIDEGATE_DRAIN_SECONDS",
    "LOG_LEVEL",
)
POLL_SECONDS = 0.25
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy between us and ourselves


class Ended(Exception):
    """A part ended by itself, or could not start."""


@dataclass
class Supervisor:
    state: Path
    port: int
    region: str
    parts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)
    sockets: Path | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write(self, phase: str, **more: object) -> None:
        """cloud.json is replaced in one piece: a reader sees the one before or this one."""
        self.facts.update(more, phase=phase, parts={name: part.pid for name, part in self.parts.items()})
        fresh = self.state / "cloud.json.new"
        fresh.write_text(json.dumps(self.facts, indent=1))
        fresh.replace(self.state / "cloud.json")

    def environment(self) -> dict[str, str]:
        """What every part gets: nothing of the user's own AWS settings, proxies or Python settings."""
        path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"])
        return {
            "PATH": path,
            "HOME": str(self.state / "home"),
            "TMPDIR": str(self.state / "tmp"),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            MARK: str(self.state),
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        }

    def start(
        self, name: str, module: str, *arguments: str, grace: float = 5.0, env: Mapping[str, str] | None = None
    ) -> None:
        self.parts[name] = leashed(
            [sys.executable, "-m", module, *arguments],
            env={**self.environment(), "PYTHONPATH": str(ROOT), **(env or {})},
            folder=self.state,
            output=self.state / "logs" / f"{name}.log",
            grace=grace,
        )
        self.write(f"starting {name}")

    def wait_for(self, name: str, ready: Callable[[], bool], seconds: float = 60.0) -> None:
        def ready_or_dead() -> bool:
            self.raise_if_ended()
            return ready()

        try:
            wait_until(ready_or_dead, seconds, f"The start of the part '{name}'")
        except NotInTime as fault:
            raise Ended(f"{fault} Its last word: {last_line(self.state / 'logs' / f'{name}.log')}.") from fault

    def raise_if_ended(self) -> None:
        for name, part in self.parts.items():
            if part.poll() is not None:
                word = last_line(self.state / "logs" / f"{name}.log")
                raise Ended(f"The part '{name}' ended by itself (exit {part.returncode}). Its last word: {word}.")

    def bring_up(self) -> None:
        engine_socket = self.bring_up_engine()
        self.start(
            "emulator",
            "local.emulator",
            env={**emulator_settings(self.port, self.region, self.state), "DOCKER_HOST": f"unix://{engine_socket}"},
        )
        self.wait_for("emulator", lambda: answers(f"{self.endpoint}/_ministack/health"))
        use_spot_once(Aws(self.endpoint, self.region))
        common = ("--state", str(self.state), "--endpoint", self.endpoint, "--region", self.region)
        inbox_port = free_port()
        self.start("machines", "local.machines", *common)
        self.start("events", "local.events", *common)
        self.start("inbox", "local.inbox", *common, "--port", str(inbox_port))
        self.write("starting", inbox=f"http://127.0.0.1:{inbox_port}")
        for name in ("machines", "events", "inbox"):
            marker = self.state / "ready" / name
            self.wait_for(name, marker.exists)

    def bring_up_engine(self) -> str:
        """The stand-in; it runs tasks as containers where this machine has an engine, else as processes."""
        chosen = self.choose_engine()
        self.sockets = Path(tempfile.mkdtemp(prefix="tidegate-"))  # a socket's path has at most 107 characters
        path = str(self.sockets / "engine.sock")
        placeholders = [word for image in PLACEHOLDER_IMAGES for word in ("--placeholder", image)]
        self.start(
            "engine", "local.engine",
            "--socket", path, "--state", str(self.state / "engine"),
            "--endpoint", self.endpoint, "--region", self.region,
            *placeholders, *(["--docker", chosen.host] if chosen.engine == DOCKER else []),
            grace=8.0, env=Aws(self.endpoint, self.region).environment,
        )  # fmt: skip
        self.write("starting", engine_socket=path)
        self.wait_for("engine", lambda: engine_answers(path))
        return path

    def choose_engine(self) -> Choice:
        try:
            chosen = choose(os.environ, partial(unusable, search=self.environment()["PATH"]))
        except EngineFault as fault:
            raise Ended(str(fault)) from fault
        self.write("starting", engine=chosen.engine, engine_why=chosen.why, engine_host=chosen.host)
        return chosen

    def bring_down(self) -> None:
        """In the reverse order, each with its time to end well; the leash kills what does not."""
        for name in reversed(list(self.parts)):
            part = self.parts[name]
            if part.poll() is None:
                part.send_signal(signal.SIGTERM)
                part.wait()
        if self.sockets is not None:
            shutil.rmtree(self.sockets, ignore_errors=True)


def emulator_settings(port: int, region: str, state: Path) -> dict[str, str]:
    """IAM enforced, loopback only, nothing kept after the end."""
    return {
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "HOSTNAME": "tidegate-local",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "MINISTACK_REGION": region,
        "MINISTACK_DOCKER_TIMEOUT": "60",
        "S3_DATA_DIR": str(state / "s3"),
        "S3_PERSIST": "0",
        "PERSIST_STATE": "0",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def answers(url: str) -> bool:
    try:
        with DIRECT.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError, http.client.HTTPException):
        return False


def engine_answers(path: str) -> bool:
    """Whether something speaks the container engine's API on this socket."""
    try:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(2)
            wire.connect(path)
            wire.sendall(b"GET /_ping HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
            return b" 200 " in wire.recv(64)
    except OSError:
        return False


def run(supervisor: Supervisor) -> int:
    stop = {signal.SIGTERM, signal.SIGINT}
    asked: list[int] = []
    for number in stop:
        signal.signal(number, lambda got, _frame: asked.append(got))
    code, reason = 0, ""
    supervisor.write("starting", pid=os.getpid(), started=started_at(os.getpid()), port=supervisor.port,
                     endpoint=supervisor.endpoint, region=supervisor.region,
                     since=datetime.now(UTC).isoformat(timespec="seconds"))  # fmt: skip
    try:
        supervisor.bring_up()
        supervisor.write("ready")
        while not asked:
            supervisor.raise_if_ended()
            time.sleep(POLL_SECONDS)
    except Ended as fault:
        code, reason = 1, str(fault)
    finally:
        supervisor.write("ending")
        supervisor.bring_down()
        supervisor.parts.clear()
        supervisor.write("failed" if reason else "down", reason=reason)
    return code


def main() -> int:
    parser = argparse.ArgumentParser(description="Start the parts of the local cloud and keep them together.")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--region", required=True)
    given = parser.parse_args()
    return run(Supervisor(given.state, given.port, given.region))


if __name__ == "__main__":
    sys.exit(main())
