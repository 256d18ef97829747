"""The stack with its rules off, so that functions run by `sam local invoke` alone move the loop on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.invoke import event_of
from tests.e2e.stack import Stack
from tests.engine.conftest import ROOT

KEPT = ("Name", "GroupName", "ScheduleExpression", "Target", "FlexibleTimeWindow", "State", "Description")


@dataclass
class Alone:
    """The stack with its rules off, and the functions run one by one."""

    stack: Stack
    first: str
    folder: Path
    seen: dict[str, Any] = field(default_factory=dict)

    def invoke(self, function: str, **names: str) -> str:
        """On its sample event with these names for the sample's; what was printed. It must end well."""
        return self.run(function, event_of(function).read_text(), names)

    def run(self, function: str, text: str, names: Mapping[str, str]) -> str:
        for name, wanted in names.items():
            before = SAMPLES[name]
            assert before in text, f"{event_of(function).name} has no {before}"
            text = text.replace(before, json.dumps(wanted)[1:-1])
        event = self.folder / f"{function}.json"
        event.write_text(text)
        command = [sys.executable, "-m", "local", "--state", str(self.stack.cloud.state), "invoke"]
        done = subprocess.run([*command, "--event", str(event), function, "--", "--skip-pull-image"], cwd=ROOT,
                              capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
        assert done.returncode == 0, f"{function}: {done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr


SAMPLES = {
    "bucket": "tidegate-local-bucket", "size": "1144642", "etag": "b1946ac92492d2347c6235b4d2611184",
    "version": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e", "batch": "default@2026-01-01T12:00:00+00:00",
    "as_of": "2026-01-01T12:00:00+00:00", "run": "default-3f2a9c1b7e44", "machine": "i-0abcd1234efgh5678",
    "repository": "tidegate-local/inference", "deployment": "ecs-svc/1234567890123456789",
    "service": "arn:aws:ecs:us-east-1:000000000000:service/tidegate-local-cluster/tidegate-local-service",
    "revision": "arn:aws:ecs:us-east-1:000000000000:service-revision/tidegate-local-cluster/tidegate-local-service/"
                "9313423515462893900",
    "digest": "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234aaaa",
    "time": "2026-01-01T12:00:00Z",
    "media_type": "application/vnd.oci.image.manifest.v1+json",
}  # fmt: skip


def alone_on(stack: Stack, deployment: str) -> bool:
    """Only the tasks of this deployment run, all of them."""
    told = stack.cloud.client("ecs").describe_services(
        cluster=stack.outputs["ClusterName"], services=[stack.outputs["ServiceName"]]
    )["services"][0]
    running = {one["id"]: one["runningCount"] for one in told["deployments"] if one["runningCount"]}
    return bool(running == {deployment: told["desiredCount"]})


@contextmanager
def rules_off(stack: Stack) -> Iterator[None]:
    """No rule, no schedule and no queue calls a function of the stack."""
    events, functions, schedules = (stack.cloud.client(name) for name in ("events", "lambda", "scheduler"))
    rules = [rule["Name"] for rule in events.list_rules()["Rules"] if rule["State"] == "ENABLED"]
    queues = [queue["UUID"] for queue in functions.list_event_source_mappings()["EventSourceMappings"]]
    group = {"GroupName": "default"}
    due = [schedules.get_schedule(Name=one["Name"], **group) for one in schedules.list_schedules(**group)["Schedules"]]
    whole = [{name: one[name] for name in KEPT if name in one} for one in due]

    def switch(*, on: bool) -> None:
        for rule in rules:
            (events.enable_rule if on else events.disable_rule)(Name=rule)
        for queue in queues:
            functions.update_event_source_mapping(UUID=queue, Enabled=on)
        for one in whole:
            schedules.update_schedule(**one if on else {**one, "State": "DISABLED"})

    try:
        switch(on=False)
        yield
    finally:
        switch(on=True)
