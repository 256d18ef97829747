from __future__ import annotations

import json
import uuid
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws import Aws
from local.events import Delivery, Events, allows, deliver_all, payload
from local.processes import wait_until
from local.sources import event, spot_warning

RULE = "arn:aws:events:us-east-1:000000000000:rule/mine"


def statement(**more: Any) -> dict[str, Any]:
    allow = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    return {"Statement": [{**allow, **more}]}


def test_a_policy_lets_in_the_rule_that_it_names_and_no_other() -> None:
    assert allows(statement(), RULE)
    assert allows(statement(Condition={"ArnEquals": {"aws:SourceArn": RULE}}), RULE)
    assert allows(statement(Condition={"ArnLike": {"AWS:SourceArn": "arn:aws:events:*:*:rule/*"}}), RULE)
    assert not allows(statement(Condition={"ArnEquals": {"aws:SourceArn": RULE + "2"}}), RULE)


def test_a_policy_for_somebody_else_lets_no_rule_in() -> None:
    assert not allows(statement(Principal={"Service": "s3.amazonaws.com"}), RULE)
    assert not allows(statement(Principal={"AWS": "*"}), RULE)
    assert not allows(statement(Effect="Deny"), RULE)
    assert not allows({"Statement": []}, RULE)


def test_a_target_gets_the_event_or_its_own_input_or_a_part() -> None:
    warning = spot_warning("us-east-1", "i-1")
    assert json.loads(payload(warning, {})) == warning
    assert payload(warning, {"Input": "{}"}) == "{}"
    assert json.loads(payload(warning, {"InputPath": "$.detail"})) == warning["detail"]
    with pytest.raises(ValueError, match="cannot transform"):
        payload(warning, {"InputTransformer": {}})


class Bus:
    """A queue, and a rule that sends it what matches; with the queue's leave or without."""

    def __init__(self, aws: Aws, source: str, *, let_in: bool = True, state: str = "ENABLED") -> None:
        name = f"q-{uuid.uuid4().hex[:8]}"
        self.sqs = aws.client("sqs")
        self.queue, self.dead = (self._queue(name + suffix) for suffix in ("", "-dead"))
        if let_in:
            self.sqs.set_queue_attributes(QueueUrl=self.queue, Attributes={"Policy": json.dumps(statement())})
        rules = aws.client("events")
        rules.put_rule(Name=name, EventPattern=json.dumps({"source": [source]}), State=state)
        dead = {"Arn": self._arn(self.dead)}
        rules.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": self._arn(self.queue), "DeadLetterConfig": dead}])

    def _queue(self, name: str) -> str:
        return str(self.sqs.create_queue(QueueName=name)["QueueUrl"])

    def _arn(self, url: str) -> str:
        return str(self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])

    def bodies(self, url: str) -> list[dict[str, Any]]:
        found = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in found]


@pytest.fixture
def source() -> str:
    return f"aws.{uuid.uuid4().hex[:8]}"


@pytest.fixture
def events(aws: Aws, tmp_path: Path) -> Events:
    return Events(aws, tmp_path / "events.jsonl")


def made(source: str) -> dict[str, Any]:
    return event(source, "Something Happened", "us-east-1", {"a": 1}, [])


def test_an_event_reaches_the_queue_of_a_rule_that_asks_for_it(aws: Aws, events: Events, source: str) -> None:
    bus, happened = Bus(aws, source), made(source)
    assert [delivery.fault for delivery in events.deliver(happened)] == [""]
    assert bus.bodies(bus.queue) == [happened]


def test_one_event_can_be_delivered_many_times(aws: Aws, events: Events, source: str) -> None:
    bus = Bus(aws, source)
    assert len(events.deliver(made(source), times=5)) == 5
    ids = [body["id"] for body in bus.bodies(bus.queue)]
    assert (len(ids), len(set(ids))) == (5, 1)


def test_a_target_that_lets_no_rule_in_gets_nothing_and_its_dead_letters_do(
    aws: Aws, events: Events, source: str
) -> None:
    bus, happened = Bus(aws, source, let_in=False), made(source)
    assert [delivery.fault for delivery in events.deliver(happened)] == [
        "the target's policy does not let this rule in"
    ]
    assert (bus.bodies(bus.queue), bus.bodies(bus.dead)) == ([], [happened])


def test_a_disabled_rule_gets_nothing(aws: Aws, events: Events, source: str) -> None:
    bus = Bus(aws, source, state="DISABLED")
    assert [delivery.fault for delivery in events.deliver(made(source))] == ["no rule asks for it"]
    assert bus.bodies(bus.queue) == []


def test_each_delivery_is_a_line_of_the_log(aws: Aws, events: Events, source: str, tmp_path: Path) -> None:
    Bus(aws, source)
    events.deliver(made(source), times=2)
    lines = [Delivery(**json.loads(line)) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [(line.detail_type, line.detail, line.fault) for line in lines] == [("Something Happened", {"a": 1}, "")] * 2


def test_a_deleted_queue_is_a_fault_of_the_delivery_and_not_of_the_cloud(aws: Aws, events: Events, source: str) -> None:
    bus = Bus(aws, source)
    bus.sqs.delete_queue(QueueUrl=bus.queue)
    wait_until(lambda: events.deliver(made(source))[0].fault != "", 5, "The fault")
    assert bus.bodies(bus.dead)


class Targets:
    """Take events, but for the first `busy` times that one comes, and never what is `unfit`."""

    def __init__(self, busy: int, unfit: str = "") -> None:
        self.busy, self.unfit, self.took = busy, unfit, list[str]()

    def deliver(self, happened: dict[str, Any]) -> list[Delivery]:
        if happened["detail-type"] == self.unfit:
            raise ValueError("nobody can take it")
        if self.busy:
            self.busy -= 1
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "Invoke")
        self.took.append(happened["detail-type"])
        return []


def named(*names: str) -> deque[dict[str, Any]]:
    return deque(event("aws.x", name, "us-east-1", {}, []) for name in names)


def test_what_could_not_be_delivered_waits_and_comes_in_order() -> None:
    waiting, targets = named("first", "second", "third"), Targets(busy=1)
    with pytest.raises(ClientError):
        deliver_all(waiting, targets.deliver)
    waiting.extend(named("fourth"))
    deliver_all(waiting, targets.deliver)
    assert targets.took == ["first", "second", "third", "fourth"] and not waiting


def test_what_no_target_can_take_holds_nothing_up() -> None:
    waiting, targets = named("first", "unfit", "third"), Targets(busy=0, unfit="unfit")
    deliver_all(waiting, targets.deliver)
    assert targets.took == ["first", "third"] and not waiting
