"""What the demo sees, and how it waits: the ledger, the bucket, the service, the inbox, the answers over HTTP.

Promise: nothing here is assumed. Whatever does not come in time is told with what was waited for, what was seen last
and where the logs are.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from local import inbox
from local.cloud import Cloud
from local.deploy import resources
from local.traffic import Answer, exchange

T = TypeVar("T")
Item = dict[str, Any]
Say = Callable[[str], None]
DENIED = {"AccessDenied", "AccessDeniedException"}


class NotSeen(Exception):
    """What was waited for did not come, or something else came; the message is for the person at the screen."""


class Teller:
    """Prints one line a fact with its second, under a heading a step, and keeps how long each step took."""

    def __init__(self, clock: Callable[[], float], *, colour: bool) -> None:
        self._clock, self._began = clock, clock()
        self._dim, self._bold, self._plain = ("\033[2m", "\033[1m", "\033[0m") if colour else ("", "", "")
        self.steps: list[dict[str, Any]] = []

    @property
    def seconds(self) -> float:
        return self._clock() - self._began

    def __call__(self, line: str) -> None:
        for number, part in enumerate(line.splitlines()):
            at = f"{self.seconds:6.1f} s" if number == 0 else " " * 8
            print(f"{self._dim}{at}{self._plain}  {part}", flush=True)

    def heading(self, text: str) -> None:
        print(f"\n{self._bold}{text}{self._plain}", flush=True)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.heading(f"{len(self.steps) + 1}. {name}")
        began = self.seconds
        entry: dict[str, Any] = {"name": name, "seconds": None}
        self.steps.append(entry)
        try:
            yield
        finally:
            entry["seconds"] = round(self.seconds - began, 1)


@dataclass
class Witness:
    """Reads one local cloud. `look` tells what is new in the ledger and in the inbox since the last look."""

    cloud: Cloud
    say: Say
    every: float = 0.2
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    outputs: dict[str, str] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _last: dict[str, str] = field(default_factory=dict)

    # --- waiting ---

    def wait(self, what: str, seconds: float, look: Callable[[], tuple[T | None, str]]) -> T:
        """The first value that `look` gives; it gives, too, what it saw instead. News are told meanwhile."""
        deadline = self.clock() + seconds
        while True:
            value, seen = look()
            self.look()
            if value is not None:
                return value
            if not self.cloud.running():
                reason = self.cloud.facts().get("reason", "it gave no reason")
                raise NotSeen(f"The local cloud ended ({reason}) before this came: {what}. Logs: {self.cloud.logs}")
            if self.clock() >= deadline:
                raise NotSeen(f"{what}: not within {seconds:g} s. Last seen: {seen}. Logs: {self.cloud.logs}")
            self.sleep(self.every)

    def look(self) -> None:
        for record in self.history():
            mark = json.dumps(record, sort_keys=True)
            if mark in self._told:
                continue
            self._told.add(mark)
            subject, now = record["subject"], record["now"]
            change = now if record["was"] in {"", now} else f"{record['was']} → {now}"
            line = f"ledger: {subject} {change}: {record['why']}"
            if self._last.get(subject) != line:  # a step that was written twice is told once
                self.say(line)
            self._last[subject] = line
        for mail in self.mails():
            mark = f"mail {mail['n']}"
            if mark not in self._told:
                self._told.add(mark)
                self.say(f"mail: {mail['subject']}")

    # --- the ledger ---

    def ledger(self, kind: str) -> list[Item]:
        """The documents of one kind, in the order of their ids."""
        pages = (
            self.cloud.client("dynamodb")
            .get_paginator("query")
            .paginate(
                TableName=self.outputs["LedgerTableName"],
                KeyConditionExpression="kind = :kind",
                ExpressionAttributeValues={":kind": {"S": kind}},
                ConsistentRead=True,
            )
        )
        return [json.loads(item["doc"]["S"]) for page in pages for item in page["Items"]]

    def history(self) -> list[Item]:
        months = {time.strftime("history %Y-%m", time.gmtime(time.time() + shift)) for shift in (-3600, 0)}
        return [record for month in sorted(months) for record in self.ledger(month)]

    def champion(self, dataset: str) -> str | None:
        key = {"kind": {"S": "champion"}, "id": {"S": dataset}}
        table = self.outputs["LedgerTableName"]
        item = self.cloud.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
        return str(json.loads(item["doc"]["S"])) if item else None

    # --- the bucket, the inbox, the service ---

    def object(self, key: str) -> bytes | None:
        try:
            got = self.cloud.client("s3").get_object(Bucket=self.outputs["BucketName"], Key=key)
        except ClientError as fault:
            if fault.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                return None
            raise
        return bytes(got["Body"].read())

    def document(self, key: str) -> Item:
        body = self.object(key)
        if body is None:
            raise NotSeen(f"{key} is not in the bucket. Logs: {self.cloud.logs}")
        return dict(json.loads(body))

    def keys(self, prefix: str) -> list[str]:
        pages = (
            self.cloud.client("s3")
            .get_paginator("list_objects_v2")
            .paginate(Bucket=self.outputs["BucketName"], Prefix=prefix)
        )
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def mails(self) -> list[Item]:
        return inbox.messages(self.cloud.state / "inbox")

    def mail(self, about: str, seconds: float) -> Item:
        """The first mail with these words in its subject, waited for."""

        def come() -> tuple[Item | None, str]:
            mails = self.mails()
            return next((mail for mail in mails if about in mail["subject"]), None), f"{len(mails)} mails"

        return self.wait(f"A mail about {about}", seconds, come)

    def service(self) -> Item:
        names = {"cluster": self.outputs["ClusterName"], "services": [self.outputs["ServiceName"]]}
        return dict(self.cloud.client("ecs").describe_services(**names)["services"][0])

    def settled(self, tasks: int | None, seconds: float) -> Item:
        """The service when only its newest deployment is left and all its tasks (`tasks`, if told) run, waited for."""

        def still() -> tuple[Item | None, str]:
            service = self.service()
            wanted, running, deployments = service["desiredCount"], service["runningCount"], service["deployments"]
            calm = len(deployments) == 1 and wanted == running and tasks in (None, wanted)
            return (service if calm else None), f"{len(deployments)} deployments, {running} of {wanted} tasks run"

        return self.wait("The service is settled", seconds, still)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """One request through the load balancer, on a connection of its own."""
        connection = self.connect()
        try:
            return exchange(connection, self.host, method, path, body, self.clock)
        finally:
            connection.close()

    @property
    def host(self) -> str:
        return self.outputs["LoadBalancerName"]

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.cloud.port, timeout=10)


def iam_is_enforced(cloud: Cloud, outputs: Mapping[str, str], say: Say) -> bool:
    """As the function that takes drops in: one call that its policy allows, and one that it does not."""
    logical = "OnDataDroppedRole"
    found = {entry["LogicalResourceId"]: entry["PhysicalResourceId"] for entry in resources(cloud.aws, cloud.stack)}
    role = cloud.client("iam").get_role(RoleName=found[logical])["Role"]["Arn"]
    keys = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="demo")["Credentials"]
    session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], cloud.region)

    def client(service: str) -> Any:
        make: Any = session.client
        return make(service, endpoint_url=cloud.aws.endpoint, config=Config(retries={"total_max_attempts": 1}))

    key = {"kind": {"S": "queue"}, "id": {"S": "runs"}}
    client("dynamodb").get_item(TableName=outputs["LedgerTableName"], Key=key)
    say(f"IAM: as {logical}, dynamodb:GetItem on the ledger is allowed")
    try:
        client("s3").put_object(Bucket=outputs["BucketName"], Key="models/forged/model.onnx", Body=b"")
    except ClientError as fault:
        code = fault.response["Error"]["Code"]
        say(f"IAM: as {logical}, s3:PutObject under models/ is refused: {code}")
        return code in DENIED
    say(f"IAM: as {logical}, s3:PutObject under models/ was allowed; the policies are not enforced")
    return False
