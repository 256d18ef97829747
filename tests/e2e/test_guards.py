"""A machine ends: each of the four guards alone, with the other three off. Variants of the deployed launch template."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from controlplane.adapters.scheduler_guard import SchedulerGuard

from tests.e2e.machines import TIMER, console, state, template, variant
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e
HANGS = "#!/bin/bash\necho hangs\nsleep infinity\n"


def ended(stack: Stack, machine: str) -> bool:
    return state(stack, machine) == "terminated"


def test_the_template_has_the_two_guards_that_are_the_machines_own(stack: Stack) -> None:
    known = template(stack)
    lines = known["UserData"].splitlines()
    assert lines[0].startswith("#!") and lines[1].startswith(TIMER), "the timer is the first line"
    assert known["InstanceInitiatedShutdownBehavior"] == "terminate"


def test_the_timer_alone_ends_a_machine_whose_script_hangs(stack: Stack) -> None:
    machine = variant(stack, "guard-timer", lambda _: HANGS.replace("echo", f"{TIMER}3\necho"))
    stack.wait("the script", lambda: "hangs" in console(stack, machine))
    assert state(stack, machine) == "running"
    stack.wait("the end by the timer", lambda: ended(stack, machine), 30)


def test_the_end_of_the_script_alone_ends_the_machine(stack: Stack) -> None:
    def without_timer(script: str) -> str:
        return "\n".join(line for line in script.splitlines() if not line.startswith(TIMER))

    machine = variant(stack, "guard-shutdown", without_timer)
    stack.wait("the end by shutdown", lambda: ended(stack, machine), 60)
    assert "trainer ended with exit code" in console(stack, machine)


def test_the_schedule_alone_ends_a_machine_that_nothing_else_would_end(stack: Stack) -> None:
    machine = variant(stack, "guard-schedule", lambda _: HANGS, InstanceInitiatedShutdownBehavior="stop")
    stack.wait("the script", lambda: "hangs" in console(stack, machine))
    role = stack.cloud.client("iam").get_role(RoleName=stack.physical["GuardRole"])["Role"]["Arn"]
    group = stack.physical["GuardGroup"]
    scheduler = stack.cloud.client("scheduler")
    SchedulerGuard(scheduler, group=group, role_arn=role).set(machine, datetime.now(UTC))
    stack.wait("the end by the schedule", lambda: ended(stack, machine), 30)

    def left() -> set[str]:
        return {known["Name"] for known in scheduler.list_schedules(GroupName=group)["Schedules"]}

    stack.wait("the end of the schedule", lambda: f"end-{machine}" not in left(), 10)


def test_the_reconciler_alone_ends_a_machine_without_a_run_at_its_second_look_and_none_of_others(stack: Stack) -> None:
    machine = variant(stack, "guard-reconciler", lambda _: HANGS, InstanceInitiatedShutdownBehavior="stop")
    other = variant(stack, "guard-of-others", lambda _: HANGS)
    ec2 = stack.cloud.client("ec2")
    ec2.create_tags(Resources=[other], Tags=[{"Key": "tidegate:stack", "Value": "another-stack"}])
    look(stack)
    assert machine in suspects(stack) and other not in suspects(stack)
    look(stack)
    assert state(stack, machine) == "running", "two looks at once are one look"
    make_older(stack, machine)
    look(stack)
    stack.wait("the end by the reconciler", lambda: ended(stack, machine), 30)
    assert state(stack, other) == "running"
    assert stack.wait("the mail", lambda: stack.mails(machine))
    ec2.terminate_instances(InstanceIds=[other])


def look(stack: Stack) -> None:
    told = stack.invoke("OnReconcileDue", {})
    assert "FunctionError" not in told, told


def suspects(stack: Stack) -> dict[str, Any]:
    return stack.items("suspect")


def make_older(stack: Stack, machine: str) -> None:
    """As if the first look had been an hour ago."""
    table, key = stack.outputs["LedgerTableName"], {"kind": {"S": "suspect"}, "id": {"S": machine}}
    dynamodb = stack.cloud.client("dynamodb")
    item = dynamodb.get_item(TableName=table, Key=key)["Item"]
    seen = datetime.fromisoformat(json.loads(item["doc"]["S"]))
    item["doc"] = {"S": json.dumps(seen.replace(year=seen.year - 1).isoformat())}
    dynamodb.put_item(TableName=table, Item=item)
