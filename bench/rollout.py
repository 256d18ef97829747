"""`python -m bench.rollout`: from a push to all tasks on the new digest and the old ones gone, beside the floor.

A local cloud of its own, the real template, IAM enforced; tasks are containers where an engine answers. Once in the
pace of AWS, which the template's settings say, and once in the local cloud's own, in which little is waited for.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import floor
from local.cloud import Cloud
from local.deploy import physical_ids
from local.engine.containers import Pace
from local.processes import free_port, wait_until
from tools.cloudformation import template

WANTED = 1.3  # times the floor, in the pace of AWS
LONGEST = 240.0
PARTS = ("scan", "task start", "steady", "closing")
MEANING = {
    "scan": "the local scan's verdict comes so long after the push; of AWS's it is not known",
    "task start": "until it could answer its health check; on AWS an assumption",
    "steady": "the emulator waits so long before it calls a deployment completed",
    "closing": "after SIGTERM the image still answers, DRAIN_SECONDS",
}
Target = tuple[str, int]
STEPS = ("asked", "running", "completed", "drained", "serving")


@dataclass
class Rollout:
    """Seconds after the push was done."""

    digest: str
    pace: Pace
    at: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Until all tasks are on the new digest and the old ones drained."""
        return self.at["drained"]

    @property
    def floor(self) -> floor.Floor:
        """The start of a task is measured in the rollout itself."""
        return floor.locally(self.pace, self.at["running"] - self.at["asked"])


class Watch:
    def __init__(self, cloud: Cloud, pace: Pace) -> None:
        self._cloud, self._pace, self._ecs = cloud, pace, cloud.client("ecs")
        outputs = cloud.outputs()
        self._cluster, self._service = outputs["ClusterName"], outputs["ServiceName"]
        self._ledger = outputs["LedgerTableName"]
        [self._group] = physical_ids(cloud.aws, cloud.stack, "AWS::ElasticLoadBalancingV2::TargetGroup")

    def push(self, tag: str) -> Rollout:
        before = {deployment["id"] for deployment in self._look()["deployments"]}
        old = self._targets()
        digest = self._cloud.push(tag)
        began, rollout = time.time(), Rollout(digest, self._pace)

        def done() -> bool:
            self._note(rollout, before, old, began)
            return set(STEPS) <= set(rollout.at)

        wait_until(done, LONGEST, f"The rollout of {tag}", every=0.05)
        return rollout

    def _note(self, rollout: Rollout, before: set[str], old: set[Target], began: float) -> None:
        service = self._look()
        primary = next(told for told in service["deployments"] if told["status"] == "PRIMARY")
        asked = primary["id"] not in before
        running = asked and primary["runningCount"] == service["desiredCount"]
        completed = running and primary["rolloutState"] == "COMPLETED"
        seen = {
            "asked": asked,
            "running": running,
            "completed": completed,
            "drained": completed and not any(map(listens, old)),
            "serving": self._serving() == rollout.digest,
        }
        for step in STEPS:
            if seen[step] and step not in rollout.at:
                rollout.at[step] = round(time.time() - began, 2)

    def _targets(self) -> set[Target]:
        told = self._cloud.client("elbv2").describe_target_health(TargetGroupArn=self._group)
        return {(each["Target"]["Id"], each["Target"]["Port"]) for each in told["TargetHealthDescriptions"]}

    def _look(self) -> Any:
        return self._ecs.describe_services(cluster=self._cluster, services=[self._service])["services"][0]

    def _serving(self) -> str | None:
        key = {"kind": {"S": "rollout"}, "id": {"S": "service"}}
        item = self._cloud.client("dynamodb").get_item(TableName=self._ledger, Key=key, ConsistentRead=True)
        document = json.loads(item["Item"]["doc"]["S"]) if "Item" in item else {}
        return (document.get("serving") or {}).get("image")


def listens(target: Target) -> bool:
    """An old task is gone when nobody listens at its address any more."""
    with socket.socket() as probe:
        return probe.connect_ex(target) == 0


def measured(pace: Pace, rollouts: int, say: Any) -> tuple[list[Rollout], str]:
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as state, paced(pace):
        cloud = Cloud(state=Path(state), port=free_port(), say=say)
        with cloud:
            cloud.deploy()
            watch = Watch(cloud, pace)
            watch.push("v0")
            return [watch.push(f"v{number}") for number in range(1, rollouts + 1)], str(cloud.facts()["engine"])


@contextmanager
def paced(pace: Pace) -> Iterator[None]:
    wanted = {"TIDEGATE_HEALTH_SECONDS": str(pace.ask_every), "TIDEGATE_DRAIN_SECONDS": str(pace.drain)}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def typical(rollouts: Sequence[Rollout]) -> Rollout:
    """The middle one by its seconds: its parts add up, as medians of parts would not."""
    return sorted(rollouts, key=lambda rollout: rollout.seconds)[len(rollouts) // 2]


def table(aws: floor.Floor, paces: dict[str, Rollout]) -> list[str]:
    """A column for AWS, which is computed, and one for each pace, which was measured."""
    floors = [aws, *(rollout.floor for rollout in paces.values())]
    took = [None, *(rollout.seconds for rollout in paces.values())]

    def line(name: str, values: Sequence[float | None], more: str = "", digits: int = 1) -> str:
        cells = " ".join(f"{'-':>14}" if value is None else f"{value:14.{digits}f}" for value in values)
        return f"  {name:32}{cells}  {more}".rstrip()

    def over(values: Sequence[float]) -> list[float | None]:
        return [None if mine is None else mine / value for mine, value in zip(took, values, strict=True)]

    strict, whole = [one.seconds for one in floors], [one.with_all for one in floors]
    head = " ".join(f"{name:>14}" for name in ("AWS", *paces))
    return [
        f"{'seconds, of one rollout':34}{head}",
        line("the first health check", [one.healthy for one in floors], "by the settings"),
        line("deregistration", [one.drain for one in floors], "by the settings"),
        line("= the floor", strict, f"in {aws.waves} wave{'s' * (aws.waves > 1)} on AWS"),
        *(line(f"+ {part}", [one.beside.get(part) for one in floors], MEANING[part]) for part in PARTS),
        line("= the floor with these", whole),
        line("+ ours", [None if mine is None else mine - all_ for mine, all_ in zip(took, whole, strict=True)],
             "events, functions, looks"),
        line("= push to drained", took, "measured"),
        line("times the floor", over(strict), digits=2),
        line("times the floor with these", over(whole), digits=2),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.rollout", description=__doc__)
    parser.add_argument("--rollouts", type=int, default=3, help="in each pace, after a first one that is not counted")
    parser.add_argument("--out", type=Path, default=Path("build/bench/rollout.json"))
    given = parser.parse_args()
    resources = template()["Resources"]
    every, drain = floor.settings(resources)
    paces = {"as on AWS": Pace(ask_every=every, drain=drain), "local pace": Pace()}
    found: dict[str, list[Rollout]] = {}
    engine = ""
    for name, pace in paces.items():
        print(f"{name}: a health check every {pace.ask_every:g} s, {pace.drain:g} s of draining", flush=True)
        found[name], engine = measured(pace, given.rollouts, lambda told: print(f"  {told}", flush=True))
        print(f"  push to …, in seconds {' '.join(f'{step:>10}' for step in STEPS)}")
        for number, rollout in enumerate(found[name], 1):
            print(f"  rollout {number:13} {' '.join(f'{rollout.at[step]:10.2f}' for step in STEPS)}", flush=True)
    middle = {name: typical(rollouts) for name, rollouts in found.items()}
    print("\n" + "\n".join(table(floor.on_aws(resources), middle)))
    ratio = middle["as on AWS"].seconds / middle["as on AWS"].floor.seconds
    print(f"\ntasks are {engine}; in the pace of AWS {ratio:.2f} times the floor; wanted: at most {WANTED}")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report(floor.on_aws(resources), found, engine), indent=1) + "\n")
    print(f"written to {given.out}")
    return 0 if ratio <= WANTED else 1


def report(aws: floor.Floor, found: dict[str, list[Rollout]], engine: str) -> dict[str, Any]:
    def told(one: floor.Floor) -> dict[str, Any]:
        parts = {"healthy": one.healthy, "drain": one.drain, "beside": dict(one.beside)}
        return {**parts, "seconds": one.seconds, "with_all": round(one.with_all, 2)}

    return {
        "engine": engine,
        "aws_floor": told(aws),
        "rollouts": {
            name: [{"at": rollout.at, "floor": told(rollout.floor)} for rollout in rollouts]
            for name, rollouts in found.items()
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
