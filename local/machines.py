"""Boots what CreateFleet makes: `python -m local.machines`.

Looks at DescribeInstances. A new machine of a fleet gets its user data run; one that was terminated, by whomever, ends;
one that shuts itself down is terminated. Promise: at most four at once, each ends with the local cloud, and an
announced Spot interruption comes as on AWS: the notice, the event, and after the notice time the end.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local import machine as one
from local.aws import Aws
from local.events import Events
from local.idle import Changes
from local.sources import rebalance, spot_warning

POLL_SECONDS = 0.1  # for what machines ask; what was made or ended has a mark (`local/idle.py`)
AT_ONCE = 4


@dataclass
class Machines:
    """All machines of one local cloud. `look` is one round; the clock and the lengths are the caller's."""

    aws: Aws
    state: Path
    events: Events
    clock: Callable[[], float] = time.time
    minute_seconds: float = 60.0
    notice_seconds: float = 120.0
    at_once: int = AT_ONCE
    changed: Callable[[], bool] = lambda: True  # since the last yes
    up: dict[str, one.Machine] = field(default_factory=dict)
    past: set[str] = field(default_factory=set)
    next_address: int = 0
    described: dict[str, dict[str, Any]] = field(default_factory=dict)

    def look(self) -> None:
        """One round: end what was ended, boot what is new, do what the machines and the command line asked for."""
        if self.changed():
            self.described = {instance["InstanceId"]: instance for instance in self._describe()}
        instances = self.described
        for key, up in list(self.up.items()):
            if instances.get(key, {}).get("State", {}).get("Name") != "running":
                up.ask_to_end()
            if up.gone():
                self._over(key, up)
            elif not up.ending:
                self._obey(key, up)
        for key, instance in instances.items():
            if self._is_new(key, instance) and len(self.up) < self.at_once:
                self._boot(key, instance)

    def _describe(self) -> list[dict[str, Any]]:
        pages = self.aws.client("ec2").get_paginator("describe_instances").paginate()
        return [instance for page in pages for group in page["Reservations"] for instance in group["Instances"]]

    def _is_new(self, key: str, instance: Mapping[str, Any]) -> bool:
        of_fleet = any(tag["Key"] == "aws:ec2:fleet-id" for tag in instance.get("Tags", []))
        return of_fleet and instance["State"]["Name"] == "running" and key not in self.up and key not in self.past

    def _boot(self, key: str, instance: Mapping[str, Any]) -> None:
        self.next_address += 1
        address = f"127.78.{self.next_address // 250 % 250}.{self.next_address % 250 + 1}"
        folder = self.state / "machines" / key
        planned = one.plan(self.aws, instance)
        self.up[key] = one.boot(planned, folder, address, self.aws, self.state)
        say(f"{key} boots: {planned.facts.instance_type} {planned.facts.lifecycle} in {planned.facts.zone}")

    def _obey(self, key: str, up: one.Machine) -> None:
        now = self.clock()
        if wish := up.wish("power"):
            up.off_at = None if wish[0] == "cancel" else self._off_at(*wish)
        if up.wish("interrupt") and up.reclaimed_at is None:
            up.reclaimed_at = now + self.notice_seconds
            up.facts.notice = datetime.fromtimestamp(up.reclaimed_at, UTC)
            say(f"{key} gets its Spot notice")
            self.events.deliver(spot_warning(self.aws.region, key))
        if up.wish("rebalance") and up.facts.rebalance is None:
            up.facts.rebalance = datetime.fromtimestamp(now, UTC)
            self.events.deliver(rebalance(self.aws.region, key))
        if up.reclaimed_at is not None and up.reclaimed_at <= now:
            say(f"{key} is taken back")
            one.terminate(self.aws, key)
            up.ask_to_end()
        elif up.off_at is not None and up.off_at <= now:
            say(f"{key} shuts itself down")
            up.ask_to_end()

    def _off_at(self, when: str, written: float) -> float:
        return written if when == "now" else written + float(when.removeprefix("+")) * self.minute_seconds

    def _over(self, key: str, up: one.Machine) -> None:
        """Its processes are gone. Off by itself it is terminated or stopped, as its launch template says."""
        now = next((told["State"]["Name"] for told in self._describe() if told["InstanceId"] == key), "terminated")
        if up.terminates:
            one.terminate(self.aws, key)
        elif now == "running":
            self.aws.client("ec2").stop_instances(InstanceIds=[key])
        up.close()
        self.up.pop(key)
        self.past.add(key)
        say(f"{key} is off")

    def end_all(self) -> None:
        for up in self.up.values():
            up.ask_to_end()
        for up in self.up.values():
            up.process.wait()
            up.close()


def say(line: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {line}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Boot the machines that CreateFleet makes.")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--region", required=True)
    given = parser.parse_args()
    aws = Aws(given.endpoint, given.region)
    machines = Machines(
        aws,
        given.state,
        Events(aws, given.state / "events.jsonl"),
        minute_seconds=float(os.environ.get("TIDEGATE_MINUTE_SECONDS", "60")),
        notice_seconds=float(os.environ.get("TIDEGATE_NOTICE_SECONDS", "120")),
        changed=Changes(given.state).to_see,
    )
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    (given.state / "ready" / "machines").touch()
    while not ended.is_set():
        try:
            machines.look()
        except (BotoCoreError, ClientError, OSError) as fault:
            print(f"Not done, tried again: {fault}", file=sys.stderr, flush=True)
        ended.wait(POLL_SECONDS)
    machines.end_all()


if __name__ == "__main__":
    main()
