"""`python -m bench.rollout`: from a push to all tasks on the new digest and the old ones gone, beside the floor.

A local cloud of its own, the real template, IAM enforced; tasks are containers where an engine answers.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import floor
from local.cloud import Cloud
from local.deploy import physical_ids
from local.processes import free_port, wait_until
from tools.cloudformation import template

WANTED = 1.3  # times the floor
LONGEST = 180.0
Target = tuple[str, int]
STEPS = ("asked", "running", "completed", "drained", "serving")


@dataclass
class Rollout:
    """Seconds after the push was done."""

    digest: str
    at: dict[str, float] = field(default_factory=dict)

    @property
    def floor(self) -> floor.Floor:
        """The start of the image is measured in the rollout itself."""
        return floor.locally(self.at["running"] - self.at["asked"])

    @property
    def ratio(self) -> float:
        """All tasks on the new digest and the old ones drained, over the floor."""
        return self.at["drained"] / self.floor.seconds


class Watch:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud, self._ecs = cloud, cloud.client("ecs")
        outputs = cloud.outputs()
        self._cluster, self._service = outputs["ClusterName"], outputs["ServiceName"]
        self._ledger = outputs["LedgerTableName"]
        [self._group] = physical_ids(cloud.aws, cloud.stack, "AWS::ElasticLoadBalancingV2::TargetGroup")

    def push(self, tag: str) -> Rollout:
        before = {deployment["id"] for deployment in self._look()["deployments"]}
        old = self._targets()
        digest = self._cloud.push(tag)
        began, rollout = time.time(), Rollout(digest)

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


def measured(rollouts: int, say: Any) -> tuple[list[Rollout], str]:
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as state:
        cloud = Cloud(state=Path(state), port=free_port(), say=say)
        with cloud:
            cloud.deploy()
            watch = Watch(cloud)
            watch.push("v0")
            return [watch.push(f"v{number}") for number in range(1, rollouts + 1)], str(cloud.facts()["engine"])


def table(name: str, told: floor.Floor) -> str:
    cells = " ".join(f"{part:8.1f}" for part in (told.scan, told.start, told.healthy, told.drain))
    return f"  {name:20} {cells} {told.waves:6} {told.seconds:8.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.rollout", description=__doc__)
    parser.add_argument("--rollouts", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/bench/rollout.json"))
    given = parser.parse_args()
    aws = floor.on_aws(template()["Resources"])
    heads = " ".join(f"{name:>8}" for name in ("scan", "start", "healthy", "drain"))
    print(f"the floor, in seconds  {heads}  waves   in all")
    print(table("AWS, by the template", aws))
    print(f"  (settings, but for the {floor.FARGATE_START:.0f} s that a Fargate task is assumed to start in;", end=" ")
    print("how long a scan takes on AWS is not known and not in it)", flush=True)
    found, engine = measured(given.rollouts, lambda told: print(f"  {told}", flush=True))
    print(table(f"here, {engine}", found[0].floor))
    print(f"\npush to …, in seconds {' '.join(f'{step:>10}' for step in STEPS)} {'floor':>7} {'ratio':>6}")
    for number, rollout in enumerate(found, 1):
        cells = " ".join(f"{rollout.at[step]:10.2f}" for step in STEPS)
        print(f"  rollout {number:11} {cells} {rollout.floor.seconds:7.2f} {rollout.ratio:6.2f}")
    ratio = statistics.median(rollout.ratio for rollout in found)
    print(f"\nmedian {ratio:.2f} times the floor; wanted: at most {WANTED}")
    report = {
        "engine": engine,
        "aws_floor": {**asdict(aws), "seconds": aws.seconds},
        "rollouts": [
            {"at": r.at, "floor": {**asdict(r.floor), "seconds": r.floor.seconds}, "ratio": round(r.ratio, 3)}
            for r in found
        ],
        "median_ratio": round(ratio, 3),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written to {given.out}")
    return 0 if ratio <= WANTED else 1


if __name__ == "__main__":
    raise SystemExit(main())
