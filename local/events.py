"""The events that AWS would send and the emulator does not: `python -m local.events`.

The emulator, as AWS, lets nobody put an event of a source `aws.…`. So the deployed rules are read, each event is
matched against them by the emulator's own TestEventPattern, and handed to the targets of the rules that match.
Promise: an event reaches a target only if an enabled rule asks for it and the target's own policy lets EventBridge in;
what cannot be handed over goes to the target's dead-letter queue, as on AWS. Each delivery is a line in events.jsonl.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.aws import Aws
from local.idle import Changes
from local.sources import Event, sources

POLL_SECONDS = 0.1  # for a mark that something changed; to ask what costs more (`local/idle.py`)


@dataclass(frozen=True)
class Delivery:
    """One event at one target. `fault` is empty when the target took it."""

    at: str
    event_id: str
    detail_type: str
    rule: str
    target: str
    fault: str
    resources: Sequence[str]
    detail: Mapping[str, Any]


class Events:
    """Hands events to the targets of the deployed rules."""

    def __init__(self, aws: Aws, log: Path) -> None:
        self._aws = aws
        self._log = log

    def deliver(self, event: Event, times: int = 1) -> list[Delivery]:
        """Match and hand over, `times` times over: AWS, too, delivers at least once."""
        done: list[Delivery] = []
        for rule in self._matching(event):
            targets = self._aws.client("events").list_targets_by_rule(Rule=rule["Name"])["Targets"]
            done += [self._hand_over(event, rule, target) for _ in range(times) for target in targets]
        if not done:
            done = [self._note(event, "", "", "no rule asks for it")]
        with self._log.open("a") as log:
            for delivery in done:
                log.write(json.dumps(asdict(delivery)) + "\n")
        return done

    def _matching(self, event: Event) -> list[dict[str, Any]]:
        events = self._aws.client("events")
        text = json.dumps(event)
        rules = [rule for page in events.get_paginator("list_rules").paginate() for rule in page["Rules"]]
        return [
            rule
            for rule in rules
            if rule.get("State") == "ENABLED"
            and rule.get("EventPattern")
            and events.test_event_pattern(EventPattern=rule["EventPattern"], Event=text)["Result"]
        ]

    def _hand_over(self, event: Event, rule: Mapping[str, Any], target: Mapping[str, Any]) -> Delivery:
        arn, fault = target["Arn"], ""
        body = payload(event, target)
        try:
            if not self._let_in(arn, rule["Arn"]):
                fault = "the target's policy does not let this rule in"
            else:
                self._send(arn, body, target)
        except ClientError as refused:
            fault = refused.response["Error"]["Message"]
        if fault and "Arn" in target.get("DeadLetterConfig", {}):
            self._send(target["DeadLetterConfig"]["Arn"], body, {})
        return self._note(event, rule["Name"], arn, fault)

    def _send(self, arn: str, body: str, target: Mapping[str, Any]) -> None:
        service = arn.split(":")[2]
        if service == "lambda":
            self._aws.client("lambda").invoke(FunctionName=arn, InvocationType="Event", Payload=body.encode())
        elif service == "sqs":
            group = target.get("SqsParameters", {}).get("MessageGroupId")
            more = {"MessageGroupId": group} if group else {}
            self._aws.client("sqs").send_message(QueueUrl=self._queue_url(arn), MessageBody=body, **more)
        elif service == "sns":
            self._aws.client("sns").publish(TopicArn=arn, Message=body)
        else:
            raise ValueError(f"The local cloud cannot hand an event to {arn}. Extend local/events.py.")

    def _queue_url(self, arn: str) -> str:
        return str(self._aws.client("sqs").get_queue_url(QueueName=arn.split(":")[-1])["QueueUrl"])

    def _let_in(self, arn: str, rule_arn: str) -> bool:
        """Whether the target's resource policy allows EventBridge to act for this rule."""
        service = arn.split(":")[2]
        policy: str | None = None
        if service == "lambda":
            try:
                policy = self._aws.client("lambda").get_policy(FunctionName=arn)["Policy"]
            except ClientError as fault:
                if fault.response["Error"]["Code"] != "ResourceNotFoundException":
                    raise
        elif service == "sqs":
            wanted = {"QueueUrl": self._queue_url(arn), "AttributeNames": ["Policy"]}
            policy = self._aws.client("sqs").get_queue_attributes(**wanted).get("Attributes", {}).get("Policy")
        elif service == "sns":
            policy = self._aws.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"].get("Policy")
        return policy is not None and allows(json.loads(policy), rule_arn)

    def _note(self, event: Event, rule: str, target: str, fault: str) -> Delivery:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        return Delivery(at, event["id"], event["detail-type"], rule, target, fault, event["resources"], event["detail"])


def allows(policy: Mapping[str, Any], rule_arn: str) -> bool:
    """Whether a statement lets events.amazonaws.com in, for this rule where it names one."""
    return any(
        statement["Effect"] == "Allow"
        and "events.amazonaws.com" in as_list(service_of(statement.get("Principal")))
        and all(fnmatch.fnmatchcase(rule_arn, pattern) for pattern in source_arns(statement))
        for statement in as_list(policy.get("Statement", []))
    )


def service_of(principal: Any) -> Any:
    return principal.get("Service", []) if isinstance(principal, dict) else []


def source_arns(statement: Mapping[str, Any]) -> list[str]:
    conditions = [pair for by in statement.get("Condition", {}).values() for pair in by.items()]
    return [pattern for key, value in conditions if key.lower() == "aws:sourcearn" for pattern in as_list(value)]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def payload(event: Event, target: Mapping[str, Any]) -> str:
    """What the target gets: the event, or the target's fixed input, or one part of the event."""
    if "Input" in target:
        return str(target["Input"])
    if "InputTransformer" in target:
        raise ValueError("The local cloud cannot transform the input of a target. Use the event itself.")
    part: Any = event
    for name in [word for word in target.get("InputPath", "$").removeprefix("$").split(".") if word]:
        part = part[name]
    return json.dumps(part)


def watch(aws: Aws, state: Path, ended: threading.Event) -> None:
    """Look, deliver, wait; until told to end. What a fault kept from being looked at or delivered is tried again."""
    events = Events(aws, state / "events.jsonl")
    watched, changes = sources(aws, state), Changes(state)
    waiting: deque[Event] = deque()
    (state / "ready" / "events").touch()
    while not ended.is_set():
        for source in watched if changes.to_see() else ():
            try:
                waiting.extend(source())
                deliver_all(waiting, events.deliver)
            except (BotoCoreError, ClientError, ValueError) as fault:
                print(f"Not now: {fault}", file=sys.stderr, flush=True)
        ended.wait(POLL_SECONDS)


def deliver_all(waiting: deque[Event], deliver: Callable[[Event], list[Delivery]]) -> None:
    """In order. An event is taken off when its targets have it; one that no target can ever take is only told of."""
    while waiting:
        try:
            for delivery in deliver(waiting[0]):
                print(delivery.detail_type, "->", delivery.target or "-", delivery.fault, flush=True)
        except ValueError as never:
            print(f"Not delivered: {never}", file=sys.stderr, flush=True)
        waiting.popleft()


def main() -> None:
    parser = argparse.ArgumentParser(description="Send the events of AWS that the emulator does not send.")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--region", required=True)
    given = parser.parse_args()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    watch(Aws(given.endpoint, given.region), given.state, ended)


if __name__ == "__main__":
    main()
