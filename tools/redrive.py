"""Send what lies in a stack's dead-letter queues again: `make redrive STACK=tidegate-prod`.

Queues that feed a function are moved back by SQS itself. Events that EventBridge could not deliver, or that a function
gave up on, are handed to their function again. A message is deleted only after that was accepted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tools.faults import advice, code_of

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient

MOVED_BY_SQS = ("IngestDeadLettersUrl", "BatchDeadLettersUrl")
EVENTS = "EventDeadLettersUrl"


@dataclass(frozen=True)
class Again:
    """A target, and what it is given."""

    target: str
    payload: str


class Unknown(Exception):
    """The message has neither of the two shapes that AWS writes."""


def again(message: Mapping[str, Any]) -> Again:
    """Where a dead letter belongs.

    From a rule: the event, with TARGET_ARN beside it (docs.aws.amazon.com/eventbridge, "Using dead-letter queues").
    From a function: the event inside `requestPayload` (docs.aws.amazon.com/lambda, "Retaining records of asynchronous
    invocations").
    """
    target = message.get("MessageAttributes", {}).get("TARGET_ARN", {}).get("StringValue")
    if target:
        return Again(target, message["Body"])
    try:
        told = json.loads(message["Body"])
        return Again(told["requestContext"]["functionArn"], json.dumps(told["requestPayload"]))
    except (ValueError, KeyError, TypeError) as fault:
        raise Unknown(message.get("MessageId", "a message without id")) from fault


def outputs(stack: str) -> dict[str, str]:
    described = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def waiting(sqs: SQSClient, queue: str) -> int:
    told = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])
    return int(told["Attributes"]["ApproximateNumberOfMessages"])


def move_back(sqs: SQSClient, queue: str) -> None:
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.start_message_move_task(SourceArn=arn)


def hand_over(sqs: SQSClient, functions: LambdaClient, queue: str) -> tuple[int, int]:
    """(sent again, left because nobody knows where they belong)."""
    sent, left = 0, 0
    while messages := sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=2
    ).get("Messages", []):
        for message in messages:
            try:
                letter = again(message)
            except Unknown as fault:
                print(f"left in the queue, of an unknown shape: {fault}", file=sys.stderr)
                left += 1
                continue
            if letter.target.split(":")[2] == "sqs":
                name = letter.target.rpartition(":")[2]
                sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"], MessageBody=letter.payload)
            else:
                functions.invoke(FunctionName=letter.target, InvocationType="Event", Payload=letter.payload.encode())
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            sent += 1
    return sent, left


def redrive(queues: Mapping[str, str], sqs: SQSClient, functions: LambdaClient, *, dry_run: bool) -> int:
    """0 when all was sent; what was is told afterwards, what was not is told too."""
    all_sent = True
    counts = {name: waiting(sqs, queues[name]) for name in (*MOVED_BY_SQS, EVENTS)}
    if dry_run:
        for name, count in counts.items():
            print(f"{short(name)}: would send {count} again")
        return 0
    for name in MOVED_BY_SQS:
        try:
            if counts[name]:
                move_back(sqs, queues[name])
            print(f"{short(name)}: sends {counts[name]} again")
        except ClientError as fault:
            if code_of(fault) != "InvalidAction":
                raise
            all_sent = False
            why = "This endpoint (the local cloud) cannot move messages; AWS can."
            print(f"{short(name)}: {counts[name]} left. {why}", file=sys.stderr)
    sent, left = hand_over(sqs, functions, queues[EVENTS])
    print(f"{short(EVENTS)}: sent {sent} again")
    return 0 if all_sent and not left else 1


def short(name: str) -> str:
    return name.removesuffix("Url")


def main() -> int:
    parser = argparse.ArgumentParser(prog="redrive", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("stack", help="name of the stack")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be sent again")
    asked = parser.parse_args()
    try:
        queues = outputs(asked.stack)
        return redrive(queues, boto3.client("sqs"), boto3.client("lambda"), dry_run=asked.dry_run)
    except (ClientError, BotoCoreError) as fault:
        print(advice(fault, asked.stack, "read the stack and its queues"), file=sys.stderr)
    except KeyError as missing:
        print(f"{asked.stack} has no output {missing}. Is it a stack of Tidegate?", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
