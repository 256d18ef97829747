"""The local cloud's command line: `python -m local --help`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from controlplane.domain.images import Push

from local import capacity as refusing
from local import inbox as mail
from local import invoke as sam_local
from local import scans, shell
from local.cloud import STATE, Cloud, CloudFault, default_port
from local.deploy import Deployed, parameters
from local.images import PushRefused, must_be_a_tag
from local.releases import rollout, standing, tags, what_follows
from local.sam import DeployFault


class Misasked(Exception):
    """The words do not say what is wanted; the message says how to say it. Exit code 2, and nothing was done."""


Command = Callable[[Cloud, argparse.Namespace], int]


def teller() -> Callable[[str], None]:
    """Prints each step with its second since the start."""
    start = time.monotonic()
    dim, plain = ("\033[2m", "\033[0m") if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ("", "")

    def say(line: str) -> None:
        try:
            print(f"{dim}{time.monotonic() - start:6.1f} s{plain}  {line}", flush=True)
        except BrokenPipeError:
            unheard()

    return say


def unheard() -> None:
    """Nobody reads on (`make up | head`). What is done goes on in silence: half a deploy helps nobody."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def up(cloud: Cloud, _: argparse.Namespace) -> int:
    cloud.start()
    cloud.say("the local cloud is up")
    deployed(cloud, cloud.deploy())
    print()
    print(how_to_try(cloud))
    return 0


def deploy(cloud: Cloud, given: argparse.Namespace) -> int:
    must_run(cloud)
    if wrong := [word for word in given.parameters if "=" not in word]:
        raise CloudFault(f"{wrong[0]!r} is no parameter. Write NAME=VALUE, for example MaxRunCost=2")
    deployed(cloud, cloud.deploy(parameters=dict(word.split("=", 1) for word in given.parameters)))
    return 0


def deployed(cloud: Cloud, result: Deployed) -> None:
    took = ", ".join(f"{name} {seconds} s" for name, seconds in result.seconds.items())
    cloud.say(f"{result.deployed} resources deployed, {len(result.left_out)} left out ({took})")


def how_to_try(cloud: Cloud) -> str:
    environment = cloud.environment()
    url = environment.get("URL")
    lines = [
        "In your shell:",
        '  eval "$(make -s env)"',
        "Then, for example:",
        "  make push TAG=v1                                  # an image; the service starts on a placeholder",
        '  aws s3 cp reviews.csv "s3://$BUCKET/raw/"         # a model',
        "  make inbox                                        # what SNS would have mailed",
    ]
    if url:
        body = json.dumps({"text": "The movie was amazing!"})
        lines.append(f"  curl -s {url}/predict -H 'content-type: application/json' -d '{body}'")
    lines += [
        "  sam list resources --stack-name " + cloud.stack,
        "  aws logs filter-log-events --log-group-name \"$CONTROL_PLANE_LOG_GROUP\" --query 'events[].message'",
        "The end:",
        "  make down",
    ]
    if url:
        lines += ["Addresses:", f"  the page     {url}/"]
    return "\n".join([*lines, f"  the AWS API  {cloud.aws.endpoint}", f"  logs         {cloud.state}/logs"])


def down(cloud: Cloud, _: argparse.Namespace) -> int:
    left = cloud.stop()
    for line in left:
        print(line, file=sys.stderr)
    if left:
        return 1
    cloud.say("the local cloud is down; no process and no port is left")
    return 0


def env(cloud: Cloud, _: argparse.Namespace) -> int:
    must_run(cloud)
    print(shell.script(cloud.environment(), Path(sys.executable).parent))
    return 0


def invoke(cloud: Cloud, given: argparse.Namespace) -> int:
    must_run(cloud)
    return sam_local.invoke(cloud, given.function, given.more, given.event)


def status(cloud: Cloud, given: argparse.Namespace) -> int:
    running = cloud.running()
    facts: dict[str, Any] = {**cloud.facts(), "running": running, "machines": [], "outputs": {}}
    releases: list[str] = []
    if running:
        outputs = cloud.outputs()
        facts.update(machines=[asdict(machine) for machine in cloud.machines()], outputs=outputs)
        if "LedgerTableName" in outputs:
            facts.update(url=cloud.url(), rollout=rollout(cloud, outputs["LedgerTableName"]))
            releases = standing(facts["rollout"], tags(cloud, outputs["RepositoryName"]))
    if given.json:
        print(json.dumps(facts, indent=1))
    else:
        print(f"The local cloud is {'up at ' + cloud.aws.endpoint if running else 'down'}.")
        for name, pid in facts.get("parts", {}).items() if running else ():
            print(f"  {name:10} process {pid}")
        for machine in facts["machines"]:
            print(f"  {machine['id']}  {machine['type']} {machine['lifecycle']}  run {machine['run'] or '-'}")
        for line in releases:
            print(f"  {line}")
        if url := facts.get("url"):
            print(f"  the page   {url}/")
        if running and not facts["outputs"]:
            print("  nothing is deployed yet. Run: make up")
        if reason := facts.get("reason"):
            print(f"  {reason}")
    return 0 if running else 1


def push(cloud: Cloud, given: argparse.Namespace) -> int:
    must_be_a_tag(given.tag)
    must_run(cloud)
    repository = cloud.outputs().get("RepositoryName")
    if given.folder and given.into != repository:
        cloud.say(f"pushed. TrainerImage={cloud.push_folder(given.folder, given.into, given.tag)}")
        return 0
    if repository is None:
        raise CloudFault("The stack has no image repository yet. Run: make up")
    pages = cloud.client("ecr").get_paginator("describe_images").paginate(repositoryName=repository)
    before = {tag for page in pages for image in page["imageDetails"] for tag in image.get("imageTags", [])}
    if given.folder:
        digest = cloud.push_folder(given.folder, given.into, given.tag).partition("@")[2]
    else:
        digest = cloud.push(given.tag, given.image_version)
    if given.tag in before:
        cloud.say(f"{given.tag} was pushed before, as {digest}: nothing to do")
        return 0
    cloud.say(f"pushed as {digest}")
    if follows := what_follows(Push(repository, digest, given.tag), parameters(cloud.aws, cloud.stack), cloud.url()):
        cloud.say(follows)
    return 0


def inbox(cloud: Cloud, given: argparse.Namespace) -> int:
    folder = cloud.state / "inbox"
    kept = mail.numbered(folder)
    if not cloud.running():
        if not kept:
            must_run(cloud)
        print("The local cloud is down. What it mailed until then:", file=sys.stderr)
    elif not kept:
        print("No mail yet.", file=sys.stderr)
    if not given.follow:
        for path in kept:
            print(path.with_suffix(".txt").read_text())
        return 0
    for text in mail.follow(folder, threading.Event()):
        print(text, flush=True)
    return 0


def interrupt(cloud: Cloud, given: argparse.Namespace) -> int:
    must_run(cloud)
    what = "Rebalance recommendation" if given.rebalance else "Spot notice"
    cloud.say(f"{what} announced to {cloud.interrupt(given.run, rebalance=given.rebalance)}")
    return 0


def capacity(cloud: Cloud, given: argparse.Namespace) -> int:
    must_run(cloud)
    if given.clear or given.refuse:
        kept = [] if given.clear else refusing.read(cloud.state)
        refusing.write(cloud.state, [*kept, *map(refusing.Refusal.of, given.refuse or [])])
    for refusal in refusing.read(cloud.state):
        cloud.say(f"refused: {refusal}")
    if not refusing.read(cloud.state):
        cloud.say("Every pool has machines to give.")
    return 0


def findings(cloud: Cloud, given: argparse.Namespace) -> int:
    if not given.image and (given.add or given.status):
        raise Misasked(
            "Say which image, by tag or digest, or * for any: make findings IMAGE=v2 ADD='CVE-2026-1:HIGH:zlib'"
        )
    must_run(cloud)
    known = [] if given.clear else scans.read(cloud.state)
    if given.image:
        found = tuple(map(scans.Finding.of, given.add or []))
        known = [scan for scan in known if scan.image != given.image]
        known.insert(0, scans.Scanned(given.image, found, given.status or "COMPLETE"))
    if given.clear or given.image:
        scans.write(cloud.state, known)
    for scan in known:
        found_there = ", ".join(map(str, scan.findings)) or "nothing"
        cloud.say(f"image {scan.image}: {found_there if scan.status == 'COMPLETE' else scan.status}")
    if not known:
        cloud.say("Scans find nothing.")
    return 0


def alarm(cloud: Cloud, given: argparse.Namespace) -> int:
    must_run(cloud)
    cloud.alarm(given.name, given.value, given.reason)
    cloud.say(f"{given.name} is {given.value}")
    return 0


def must_run(cloud: Cloud) -> None:
    if not cloud.running():
        raise CloudFault("The local cloud is not running. Run: make up")


def parser() -> argparse.ArgumentParser:
    text = "The whole stack on this machine, with no AWS account."
    root = argparse.ArgumentParser(prog="python -m local", description=text)
    where = "where it keeps everything (default: build/local)"
    root.add_argument("--state", type=Path, default=STATE, metavar="FOLDER", help=where)
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, does: Command, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(does=does)
        return made

    add("up", up, "Start it, deploy the stack into it, and say how to try it. Again does no harm.")
    add("down", down, "End all of it, and check that no process and no port is left.")
    add("deploy", deploy, "Build and deploy the stack again.").add_argument(
        "parameters", nargs="*", metavar="NAME=VALUE", help="parameters of the template, for example MaxRunCost=2"
    )
    add("env", env, 'Print its settings for a shell: eval "$(python -m local env)"')
    alone = add(
        "invoke", invoke, "Run one function on its sample event by `sam local invoke` (needs a container engine)."
    )
    alone.add_argument("function", help="for example OnImagePushed")
    alone.add_argument("--event", type=Path, metavar="FILE", help="another event than its sample in events/")
    alone.add_argument("more", nargs="*", help="more options for sam, after --")
    add("status", status, "Say what runs.").add_argument("--json", action="store_true", help="as JSON")
    one = add("push", push, "Build the inference image and push it to the stack's repository.")
    one.add_argument("tag", help="for example v1")
    one.add_argument("--image-version", metavar="V", help="what /version will say (default: the tag)")
    one.add_argument("--folder", type=Path, help="another image instead, by this folder's Dockerfile (a TrainerImage)")
    of_its_own = "the repository of that image; made if it is not there (default: trainer)"
    one.add_argument("--into", metavar="REPOSITORY", default="trainer", help=of_its_own)
    add("inbox", inbox, "Show what SNS would have mailed.").add_argument(
        "--follow", action="store_true", help="go on showing what comes"
    )
    spot = add("interrupt", interrupt, "Announce a Spot interruption to the machine of a run.")
    spot.add_argument("run", nargs="?", help="a run or an instance id (default: the only machine that runs)")
    spot.add_argument("--rebalance", action="store_true", help="only recommend to go elsewhere, as EC2 may do before")
    pools = add("capacity", capacity, "Say which machines the local cloud refuses, or let it refuse some.")
    how = "for example spot:*:*:InsufficientInstanceCapacity, or *:c6i.*:us-east-1a:Unsupported"
    pools.add_argument("--refuse", nargs="+", metavar="LIFECYCLE:TYPE:ZONE:CODE", help=how)
    pools.add_argument("--clear", action="store_true", help="refuse nothing else")
    found = add("findings", findings, "Say what the scans of images find, or let them find something.")
    found.add_argument("image", nargs="?", help="a digest, a tag, or * for any (default: only show)")
    found.add_argument("--add", nargs="+", metavar="NAME:SEVERITY:PACKAGE", help="for example CVE-2026-1:CRITICAL:zlib")
    how = "how the scan ends; IN_PROGRESS = never (default: COMPLETE)"
    found.add_argument("--status", choices=scans.STATUSES, help=how)
    found.add_argument("--clear", action="store_true", help="find nothing else")
    changed = add("alarm", alarm, "Set an alarm's state, as `aws cloudwatch set-alarm-state` does.")
    changed.add_argument("name")
    changed.add_argument("value", metavar="STATE", choices=["OK", "ALARM", "INSUFFICIENT_DATA"])
    changed.add_argument("--reason", default="Set by hand in the local cloud.")
    return root


def main() -> int:
    given = parser().parse_args()
    try:
        cloud = Cloud(state=given.state, port=default_port(), say=teller())
        does: Command = given.does
        code = does(cloud, given)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        unheard()
        return 0
    except Misasked as fault:
        print(fault, file=sys.stderr)
        return 2
    except (CloudFault, DeployFault, PushRefused, refusing.BadRefusal, scans.BadFinding) as fault:
        print(fault, file=sys.stderr)
    except ClientError as fault:
        print(f"The local cloud refused: {fault.response['Error']['Message']}", file=sys.stderr)
    except BotoCoreError as fault:
        print(f"The local cloud does not answer: {fault}. Look with: make status", file=sys.stderr)
    except KeyboardInterrupt:
        print()
    return 1


if __name__ == "__main__":
    sys.exit(main())
