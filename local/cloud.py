"""The local cloud as an object: start it, deploy into it, look into it, end it.

    with Cloud(state=folder, port=free_port()) as cloud:
        cloud.deploy()

Promise: several clouds with different state folders and ports run side by side, and `stop` says what it could not end.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local import capacity, docker_push, dockerfile, images, shell
from local import deploy as deploying
from local.aws import Aws
from local.engine.docker import DOCKER, Docker, EngineFault
from local.processes import NotInTime, belonging_to, last_line, leashed, port_open, started_at, wait_until
from local.sam import stack_name

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / "build" / "local"
FOLDERS = ("logs", "ready", "machines", "inbox", "home", "tmp", "s3", "engine")
START_SECONDS, STOP_SECONDS = 90.0, 40.0


class CloudFault(Exception):
    """The local cloud cannot do what was asked; the message is for the person who asked."""


@dataclass(frozen=True)
class Running:
    """A machine that is running, and the run that it works on."""

    id: str
    type: str
    lifecycle: str
    run: str


def default_port() -> int:
    """TIDEGATE_PORT, or the port that such emulators have by custom."""
    given = os.environ.get("TIDEGATE_PORT", "4566")
    if not given.isdigit() or not 0 < int(given) < 65536:
        raise CloudFault(f"TIDEGATE_PORT is {given!r}. Give a port between 1 and 65535, for example TIDEGATE_PORT=4600")
    return int(given)


def quiet(_: str) -> None:
    """For callers who do not want to be told."""


@dataclass
class Cloud:
    state: Path = STATE
    port: int = field(default_factory=default_port)
    region: str = "us-east-1"
    stack: str = field(default_factory=stack_name)
    say: Callable[[str], None] = quiet

    def __post_init__(self) -> None:
        self.state = self.state.resolve()
        known = self.facts()
        if self.running() and isinstance(known.get("port"), int):
            self.port, self.region = int(known["port"]), str(known["region"])
        self._process: subprocess.Popen[bytes] | None = None
        self.aws = Aws(f"http://127.0.0.1:{self.port}", self.region)

    # --- life ---

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    def facts(self) -> dict[str, Any]:
        """What the supervisor last wrote of itself; empty when there was none."""
        try:
            read = json.loads((self.state / "cloud.json").read_text())
        except FileNotFoundError:
            return {}
        return dict(read)

    def running(self) -> bool:
        known = self.facts()
        pid = known.get("pid")
        return isinstance(pid, int) and known.get("started") is not None and started_at(pid) == known["started"]

    def start(self, *, leash: bool = False) -> Cloud:
        """Start it unless it runs. With `leash` it ends with this process."""
        if self.running():
            self.wait_ready()
            return self
        if port_open(self.port):
            raise CloudFault(
                f"Port {self.port} is in use by something else. End that, or choose another: TIDEGATE_PORT=4600 make up"
            )
        if left := belonging_to(self.state):
            raise CloudFault(f"A local cloud ended badly and left {named(left)}. Run: make down")
        for name in FOLDERS:
            shutil.rmtree(self.state / name, ignore_errors=True)
            (self.state / name).mkdir(parents=True)
        for name in ("cloud.json", "events.jsonl", capacity.FILE):
            (self.state / name).unlink(missing_ok=True)
        self._spawn(leash)
        self.wait_ready()
        known = self.facts()
        kind = "containers" if known["engine"] == DOCKER else "processes"
        self.say(f"tasks run as {kind}: {known['engine_why']}")
        return self

    def _spawn(self, leash: bool) -> None:
        command = [sys.executable, "-m", "local.supervisor", "--state", str(self.state), "--port", str(self.port)]
        command += ["--region", self.region]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        log = self.state / "logs" / "supervisor.log"
        if leash:
            self._process = leashed(command, env=environment, folder=ROOT, output=log, grace=STOP_SECONDS)
            return
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip

    def wait_ready(self) -> None:
        told: list[str] = []

        def ready() -> bool:
            known = self.facts()
            phase = str(known.get("phase", ""))
            if phase and phase != "ready" and phase not in told:
                told.append(phase)
                self.say(phase)
            if phase in ("failed", "down"):
                raise CloudFault(f"The local cloud did not start. {known.get('reason', '')} Logs: {self.logs}")
            process = self._process
            if process is not None and process.poll() is not None and phase != "ready":
                word = last_line(self.state / "logs" / "supervisor.log")
                raise CloudFault(f"The local cloud did not start. Its last word: {word}. Logs: {self.state / 'logs'}")
            return phase == "ready"

        try:
            wait_until(ready, START_SECONDS, "The start of the local cloud")
        except NotInTime as fault:
            raise CloudFault(f"{fault} Logs: {self.state / 'logs'}") from fault

    def stop(self) -> list[str]:
        """End everything. Returns what could not be ended, one sentence each; empty is good."""
        known = self.facts()
        pid = known.get("pid")
        if not self.running() and not belonging_to(self.state) and self._process is None:
            return self._clean(known)
        if self.running() and isinstance(pid, int):
            os.kill(pid, signal.SIGTERM)
            try:
                wait_until(lambda: not self.running(), STOP_SECONDS, "The end of the local cloud")
            except NotInTime:
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait(STOP_SECONDS)
            self._process = None
        left = self._clean(known)
        try:
            wait_until(lambda: not belonging_to(self.state) and not port_open(self.port), 5.0, "A clean end")
        except NotInTime:
            return [*left, *self._left()]
        return left

    def _clean(self, known: Mapping[str, Any]) -> list[str]:
        """What lies outside the state folder and a supervisor that was killed could not remove."""
        remove_socket(known)
        if known.get("engine") == DOCKER:
            try:
                Docker(str(known["engine_host"]), self.state / "engine" / "docker").remove_containers(self.state)
            except EngineFault as fault:
                return [f"Containers may be left over. {fault}"]
        return []

    def _left(self) -> list[str]:
        """What a cloud that ended badly left behind is killed; what even that does not end is told."""
        for pid in belonging_to(self.state):
            os.kill(pid, signal.SIGKILL)
        with suppress(NotInTime):  # what is left then is told
            wait_until(lambda: not belonging_to(self.state), 5.0, "Their end")
        left = [f"Process {pid} is still there: {line}" for pid, line in belonging_to(self.state).items()]
        if port_open(self.port):
            left.append(f"Port {self.port} is still open.")
        return left

    def __enter__(self) -> Cloud:
        return self.start(leash=True)

    def __exit__(self, kind: object, fault: BaseException | None, trace: object) -> None:
        left = self.stop()
        if left and fault is None:
            raise CloudFault(" ".join(left))

    # --- use ---

    def client(self, service: str) -> Any:
        return self.aws.client(service)

    def deploy(self, template: Path | None = None, parameters: Mapping[str, str] | None = None) -> deploying.Deployed:
        """Build and deploy the real template by the real `sam`. Raises deploy.DeployFault with a sentence."""
        return deploying.deploy(
            self.aws,
            template=template or ROOT / "template.yaml",
            stack=self.stack,
            work=self.state / "sam",
            parameters=parameters or {},
            say=self.say,
        )

    def outputs(self) -> dict[str, str]:
        """The outputs of the stack; empty before the first deploy."""
        return deploying.outputs(self.aws, self.stack)

    def url(self) -> str | None:
        """Where the load balancer answers: a name under localhost, which browsers and curl resolve by themselves."""
        balancers = self.client("elbv2").describe_load_balancers()["LoadBalancers"]
        return f"http://{balancers[0]['LoadBalancerName']}.alb.localhost:{self.port}" if balancers else None

    def machines(self) -> list[Running]:
        """The machines that are running."""
        wanted = [{"Name": "instance-state-name", "Values": ["running"]}]
        groups = self.client("ec2").describe_instances(Filters=wanted)["Reservations"]
        found = []
        for instance in (instance for group in groups for instance in group["Instances"]):
            tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
            lifecycle = instance.get("InstanceLifecycle", "on-demand")
            run = tags.get("tidegate:run", "")
            found.append(Running(instance["InstanceId"], instance["InstanceType"], lifecycle, run))
        return found

    def interrupt(self, wanted: str | None = None, *, rebalance: bool = False) -> str:
        """Announce a Spot interruption (or only that one is likely) to the machine of a run; returns the instance id.

        A machine that is still booting finds the announcement when it is up.
        """
        running = [machine for machine in self.machines() if wanted in (None, machine.id, machine.run)]
        if not running:
            whose = f" for {wanted}" if wanted else ""
            raise CloudFault(f"No machine is running{whose}. Look with: make status")
        if len(running) > 1:
            raise CloudFault(f"Which one? {', '.join(machine.run or machine.id for machine in running)}")
        machine = running[0]
        if machine.lifecycle != "spot":
            raise CloudFault(f"{machine.id} is not a Spot machine; AWS would not take it back.")
        folder = self.state / "machines" / machine.id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ("rebalance" if rebalance else "interrupt")).touch()
        return machine.id

    def refuse(self, *refusals: str) -> None:
        """From now on these pools have no machine to give, and all others have: LIFECYCLE:TYPE:ZONE:CODE."""
        capacity.write(self.state, [capacity.Refusal.of(text) for text in refusals])

    def alarm(self, name: str, state: str, reason: str = "Set by hand in the local cloud.") -> None:
        """Set an alarm's state by the public API; its actions and its event follow."""
        self.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue=state, StateReason=reason)

    def push(self, tag: str, image_version: str | None = None, folder: Path = ROOT / "inference_image") -> str:
        """Build the inference image and push it to the stack's repository; returns the digest."""
        repository = self.outputs().get("RepositoryName")
        if repository is None:
            raise CloudFault("The stack has no image repository yet. Run: make up")
        version = image_version or tag
        known = self.facts()
        if known.get("engine") != DOCKER:
            with self.aws.ambient():
                return images.push(folder, repository, tag, image_version=version)
        host = str(known["engine_host"])
        return docker_push.push(self.aws, host, folder, f"localhost:{self.port}", repository, tag, version)

    def push_folder(self, folder: Path, repository: str, tag: str) -> str:
        """Build a folder's Dockerfile and push it to a repository of its own; the URI by digest, as TrainerImage."""
        ecr = self.client("ecr")
        try:
            uri = ecr.describe_repositories(repositoryNames=[repository])["repositories"][0]["repositoryUri"]
        except ecr.exceptions.RepositoryNotFoundException:
            uri = ecr.create_repository(repositoryName=repository)["repository"]["repositoryUri"]
        known = self.facts()
        if known.get("engine") == DOCKER:
            host, registry = str(known["engine_host"]), f"localhost:{self.port}"
            digest = docker_push.push(self.aws, host, folder, registry, repository, tag, tag)
        else:
            with self.aws.ambient():
                digest = images.publish(dockerfile.build(folder), repository, tag)
        return f"{uri}@{digest}"

    def environment(self) -> dict[str, str]:
        """For `eval "$(make -s env)"`: the cloud's address and keys, and every output of the stack by its name."""
        return shell.settings(self.aws.environment, self.outputs(), self.url())


def remove_socket(facts: Mapping[str, Any]) -> None:
    folder = Path(facts.get("engine_socket", "")).parent
    if folder.name.startswith("tidegate-"):
        shutil.rmtree(folder, ignore_errors=True)


def named(processes: Mapping[int, str]) -> str:
    return "; ".join(f"process {pid} ({line[:80]})" for pid, line in processes.items())
