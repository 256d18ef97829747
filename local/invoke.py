"""`sam local invoke` of one function on its sample event, against the running local cloud.

`sam local` needs three things said differently, so it gets a copy of the built template: this machine's architecture,
AWS_ENDPOINT_URL as a declared variable (it passes on no other), and, because a container on the engine's bridge does
not see this machine's loopback, the address of a relay that listens on the bridge alone while the function runs. A
ResponseURL in the event is replaced by one that is listened to. `sam` ends with 0 also when the function failed; this
does not.
"""

from __future__ import annotations

import ipaddress
import json
import os
import platform
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_dump, yaml_parse

from local.cloud import ROOT, Cloud, CloudFault
from local.deploy import resources
from local.sam import configured, overrides

FUNCTION = "AWS::Serverless::Function"
ARCHITECTURE = {"x86_64": "x86_64", "aarch64": "arm64"}


def variables(cloud: Cloud, endpoint: str) -> dict[str, dict[str, str]]:
    """`sam local` does not resolve !Ref and !GetAtt; the deployed functions know what they came to."""
    told = {}
    for resource in resources(cloud.aws, cloud.stack):
        if resource["ResourceType"] == "AWS::Lambda::Function":
            name = resource["PhysicalResourceId"]
            deployed = cloud.client("lambda").get_function_configuration(FunctionName=name)
            given = deployed.get("Environment", {}).get("Variables", {})
            told[resource["LogicalResourceId"]] = {**given, "AWS_ENDPOINT_URL": endpoint}
    return told


def for_this_machine(template: Mapping[str, Any], machine: str) -> dict[str, Any]:
    """The template with this machine's architecture and a place for the endpoint."""
    made: dict[str, Any] = json.loads(json.dumps(template))
    functions = [body["Properties"] for body in made["Resources"].values() if body["Type"] == FUNCTION]
    for properties in [*functions, made.get("Globals", {}).get("Function", {})]:
        properties["Architectures"] = [ARCHITECTURE.get(machine, "x86_64")]
        properties.setdefault("Environment", {}).setdefault("Variables", {})["AWS_ENDPOINT_URL"] = ""
    return made


def event_of(function: str) -> Path:
    return ROOT / "events" / (re.sub(r"(?<!^)(?=[A-Z])", "_", function).lower() + ".json")


def bridge() -> str:
    """The address that this machine has on the engine's default bridge. Raises CloudFault."""
    asked = ["docker", "network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise CloudFault(f"`sam local invoke` needs a container engine, and none answers: {fault}") from fault
    if done.returncode or not done.stdout.strip():
        said = (done.stderr.strip().splitlines() or ["no bridge network"])[-1]
        raise CloudFault(f"`sam local invoke` needs a container engine, and none answers: {said}")
    return gateway(json.loads(done.stdout))


def gateway(configured: Sequence[Mapping[str, str]]) -> str:
    """An engine that was just installed tells no gateway yet; it is the first address of the network."""
    first = configured[0]
    return first.get("Gateway") or str(next(ipaddress.ip_network(first["Subnet"]).hosts()))


@contextmanager
def relay(address: str, port: int, to: str = "127.0.0.1") -> Iterator[int]:
    """Hands what comes to `address` on to the port of a loopback address; gives the port that it listens on."""
    with socket.create_server((address, 0)) as door:

        def serve() -> None:
            with suppress(OSError):  # closed: that is how it ends
                while True:
                    caller, _ = door.accept()
                    threading.Thread(target=carry, args=(caller, (to, port)), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield int(door.getsockname()[1])
        door.shutdown(socket.SHUT_RDWR)  # wakes the accept, which would keep the door open


def carry(caller: socket.socket, to: tuple[str, int]) -> None:
    """Both ways, until both sides have said all."""
    with caller, socket.create_connection(to) as inside:
        answers = threading.Thread(target=pump, args=(inside, caller), daemon=True)
        answers.start()
        pump(caller, inside)
        answers.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # either side hung up
        while chunk := source.recv(65536):
            sink.sendall(chunk)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def receiver(address: str, heard: list[Any]) -> Iterator[str]:
    """Stands for CloudFormation's ResponseURL: keeps the JSON that is PUT to it; gives the address to PUT to."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:  # noqa: N802  as http.server names it
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """What was told is printed by the caller."""

    with ThreadingHTTPServer((address, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield f"http://{address}:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def fault_of(answer: str, heard: Sequence[Any]) -> str | None:
    """Why the function failed, though `sam` ended well: by what it returned, or by what it told CloudFormation."""
    last = next((line for line in reversed(answer.splitlines()) if line.strip()), "null")
    try:
        returned = json.loads(last)
    except ValueError:
        return f"it returned no JSON: {last[:200]}"
    if isinstance(returned, dict) and ("errorType" in returned or "errorMessage" in returned):
        return f"{returned.get('errorType', 'Error')}: {returned.get('errorMessage', '')}"
    if isinstance(returned, dict) and returned.get("batchItemFailures"):
        return f"{len(returned['batchItemFailures'])} messages go back to the queue; its log says why"
    return next((told.get("Reason", "FAILED") for told in heard if told.get("Status") != "SUCCESS"), None)


def invoke(cloud: Cloud, function: str, more: Sequence[str], event: Path | None = None) -> int:
    """Run it in the foreground on its sample event, or on another. 0 when sam and the function both ended well."""
    built = cloud.state / "sam" / "build" / "template.yaml"
    template = yaml_parse(built.read_text())
    known = sorted(name for name, body in template["Resources"].items() if body["Type"] == FUNCTION)
    if function not in known:
        raise CloudFault(f"There is no function {function}. There are: {', '.join(known)}.")
    given = event or event_of(function)
    if not given.exists():
        raise CloudFault(f"There is no event {given}. Name a file: make invoke F={function} EVENT=event.json")
    body = json.loads(given.read_text())
    here = built.with_name("invoke.yaml")
    here.write_text(yaml_dump(for_this_machine(template, platform.machine())))
    address, heard = bridge(), list[Any]()
    with relay(address, cloud.port) as port, receiver(address, heard) as answer_to:
        told = built.with_name("invoke.json")
        told.write_text(json.dumps(variables(cloud, f"http://{address}:{port}"), indent=1))
        asked = built.with_name("event.json")
        asked.write_text(json.dumps({**body, "ResponseURL": answer_to} if "ResponseURL" in body else body))
        command = [
            str(Path(sys.executable).with_name("sam")), "local", "invoke", function, "--template", str(here),
            "--event", str(asked), "--env-vars", str(told), "--region", cloud.region,
            *overrides(configured(ROOT / "samconfig.toml")), *more,
        ]  # fmt: skip
        own = {**os.environ, **cloud.aws.environment}
        own.pop("AWS_ENDPOINT_URL", None)
        done = subprocess.run(command, env=own, cwd=built.parent, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="" if done.stdout.endswith("\n") else "\n", flush=True)
    for one in heard:
        print(f"told CloudFormation: {json.dumps(one)}", flush=True)
    if done.returncode:
        return done.returncode
    if fault := fault_of(done.stdout, heard):
        print(f"{function} failed. {fault}", file=sys.stderr, flush=True)
        return 1
    return 0
