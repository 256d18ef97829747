"""A deployed stack as the end-to-end tests see it, and small data to drop into it."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import httpx
import pytest

from local.cloud import Cloud
from local.deploy import resources
from local.events import Events
from local.inbox import messages
from local.processes import NotInTime, wait_until

T = TypeVar("T")
GOOD = ["moving", "warm", "funny", "brilliant", "honest", "gripping", "tender", "delightful", "superb", "charming"]
BAD = ["dull", "clumsy", "boring", "awful", "shallow", "tedious", "lifeless", "messy", "hollow", "annoying"]
FILLER = ["the", "a", "film", "story", "cast", "scene", "it", "was", "with", "and", "of", "plot", "ending", "music"]


def reviews(rows: int, *, seed: int, labels: tuple[str, str] = ("neg", "pos")) -> list[tuple[str, str]]:
    """Sentences whose words tell their label; no two are the same."""
    chance = random.Random(seed)
    made = []
    for number in range(rows):
        positive = number % 2
        words = chance.choices(FILLER, k=8) + chance.choices(GOOD if positive else BAD, k=3)
        chance.shuffle(words)
        made.append((f"{' '.join(words)} no {seed}-{number}", labels[positive]))
    return made


def wordy(rows: int, *, seed: int, words: int = 60, vocabulary: int = 600) -> list[tuple[str, str]]:
    """Longer texts of many words, some of which hint at the label: there is something to learn for a while."""
    chance = random.Random(seed)
    hints = [chance.gauss(0, 1) for _ in range(vocabulary)]
    made = []
    for number in range(rows):
        chosen = chance.choices(range(vocabulary), k=words)
        positive = sum(hints[word] for word in chosen) + chance.gauss(0, 3) > 0
        made.append((f"{' '.join(f'w{word}' for word in chosen)} no {number}", "pos" if positive else "neg"))
    return made


def as_csv(rows: list[tuple[str, str]], header: tuple[str, str] = ("review", "sentiment")) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([header, *rows])
    return out.getvalue().encode()


@dataclass
class Stack:
    cloud: Cloud
    outputs: dict[str, str]

    @property
    def bucket(self) -> str:
        return self.outputs["BucketName"]

    @cached_property
    def physical(self) -> dict[str, str]:
        """Names in the template, and what they are called."""
        found = resources(self.cloud.aws, self.cloud.stack)
        return {known["LogicalResourceId"]: known["PhysicalResourceId"] for known in found}

    def drop(self, key: str, body: bytes) -> None:
        self.cloud.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)

    def keys(self, prefix: str) -> set[str]:
        pages = self.cloud.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    def read_json(self, key: str) -> Any:
        return json.loads(self.cloud.client("s3").get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def mails(self, about: str) -> list[dict[str, Any]]:
        return [mail for mail in messages(self.cloud.state / "inbox") if about in mail["subject"] + mail["body"]]

    def items(self, kind: str) -> dict[str, Any]:
        """Documents of the ledger, by id."""
        pages = (
            self.cloud.client("dynamodb")
            .get_paginator("query")
            .paginate(
                TableName=self.outputs["LedgerTableName"],
                KeyConditionExpression="kind = :kind",
                ExpressionAttributeValues={":kind": {"S": kind}},
            )
        )
        return {item["id"]["S"]: json.loads(item["doc"]["S"]) for page in pages for item in page["Items"]}

    def runs(self, dataset: str) -> list[dict[str, Any]]:
        return [run for run in self.items("run").values() if run["dataset"] == dataset]

    def rollout(self) -> dict[str, Any]:
        found: dict[str, Any] = self.items("rollout").get("service", {})
        return found

    def machines_of(self, run_id: str) -> list[str]:
        found = self.cloud.client("ec2").describe_instances(Filters=[{"Name": "tag:tidegate:run", "Values": [run_id]}])
        return [machine["InstanceId"] for group in found["Reservations"] for machine in group["Instances"]]

    def logged(self, *words: str) -> int:
        """How many entries of the functions' log hold all the words."""
        return sum(all(word in text for word in words) for text in self._log())

    def denied(self) -> list[str]:
        """What IAM refused to the functions, in their own log."""
        return [
            found for text in self._log() for found in re.findall(r"User: \S+ is not authorized to perform: \S+", text)
        ]

    def _log(self) -> list[str]:
        pages = (
            self.cloud.client("logs")
            .get_paginator("filter_log_events")
            .paginate(logGroupName=self.outputs["ControlPlaneLogGroup"])
        )
        return [event["message"] for page in pages for event in page["events"]]

    def invoke(self, name: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """One function, by its name in the template; what Lambda answers."""
        payload = json.dumps(event).encode()
        answer = self.cloud.client("lambda").invoke(FunctionName=self.physical[name], Payload=payload)
        return {**answer, "Payload": answer["Payload"].read().decode()}

    def decide(self, action: str, *words: str, why: str = "e2e") -> str:
        """As `make rollback` and `make release-held` do, from a shell with the local cloud's settings."""
        settings = {**os.environ, **self.cloud.environment()}
        command = [sys.executable, "-m", "tools.decide", action, self.cloud.stack, "--why", why, *words]
        done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def deliver(self, event: Mapping[str, Any], times: int) -> None:
        """Through the rules of the stack, as EventBridge would."""
        Events(self.cloud.aws, self.cloud.state / "delivered.jsonl").deliver(dict(event), times)

    def wait(self, what: str, seen: Callable[[], T], seconds: float = 90) -> T:
        """The first true answer. When none comes, say what was waited for and what IAM refused meanwhile."""
        answers: list[T] = []

        def came() -> bool:
            answers[:] = [seen()]
            return bool(answers[0])

        try:
            wait_until(came, seconds, what, every=0.2)
        except NotInTime as late:
            refused = "\n".join(self.denied()[-3:]) or "IAM refused nothing"
            pytest.fail(f"{late}\n{refused}\nlogs: {self.cloud.logs}")
        return answers[0]

    def ask(self, method: str, path: str, **told: Any) -> httpx.Response:
        """Through the load balancer."""
        return httpx.request(
            method,
            f"http://127.0.0.1:{self.cloud.port}{path}",
            timeout=10,
            headers={"Host": self.outputs["LoadBalancerName"]},
            **told,
        )
