from __future__ import annotations

import inspect
import io
import json
import uuid
import zipfile
from pathlib import Path
from typing import Any

from ministack.services import eventbridge

from local.aws import Aws
from local.processes import wait_until

FAILS = """
from pathlib import Path

def handler(event, context):
    with Path({log!r}).open("a") as log:
        log.write(event["detail"]["object"]["key"] + "\\n")
    if Path({log!r}).read_text().count("\\n") <= {times}:
        raise RuntimeError("not now")
"""


class Function:
    """A bucket whose events come to a function, which fails some times; and the queue for what stays undone."""

    def __init__(self, aws: Aws, folder: Path, times: int) -> None:
        name = f"fails-{uuid.uuid4().hex[:8]}"
        self.log, self.s3, self.sqs, self.bucket = folder / "log", aws.client("s3"), aws.client("sqs"), name
        self.dead = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        dead = self.sqs.get_queue_attributes(QueueUrl=self.dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}]}
        role = aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as package:
            package.writestr("index.py", FAILS.format(log=str(self.log), times=times))
        made = aws.client("lambda").create_function(
            FunctionName=name, Role=role, Runtime="python3.11", Handler="index.handler",
            Code={"ZipFile": code.getvalue()}, DeadLetterConfig={"TargetArn": dead},
        )  # fmt: skip
        self.s3.create_bucket(Bucket=name)
        to_events: Any = {"EventBridgeConfiguration": {}}
        self.s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=to_events)
        pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [name]}}}
        aws.client("events").put_rule(Name=name, EventPattern=json.dumps(pattern))
        aws.client("events").put_targets(Rule=name, Targets=[{"Id": "one", "Arn": made["FunctionArn"]}])

    def asked(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def buried(self) -> list[str]:
        found = self.sqs.receive_message(QueueUrl=self.dead).get("Messages", [])
        return [json.loads(one["Body"])["requestPayload"]["detail"]["object"]["key"] for one in found]


def test_an_event_is_not_lost_when_the_function_fails_on_it(aws: Aws, tmp_path: Path) -> None:
    function = Function(aws, tmp_path, times=1)
    function.s3.put_object(Bucket=function.bucket, Key="one", Body=b"1")
    wait_until(lambda: function.asked() == ["one", "one"], 30, "The second time")
    assert function.buried() == []


def test_an_event_that_stays_undone_is_kept_with_the_dead_letters(aws: Aws, tmp_path: Path) -> None:
    function = Function(aws, tmp_path, times=9)
    function.s3.put_object(Bucket=function.bucket, Key="one", Body=b"1")
    wait_until(lambda: function.buried() == ["one"], 30, "The dead letter")
    assert function.asked() == ["one"] * 3


def test_the_emulator_alone_forgets_such_an_event() -> None:
    """When it has it asked again, local/emulator/rule_targets.py can go."""
    assert "invoke_async_with_retry" not in inspect.getsource(eventbridge._dispatch_to_lambda)
