"""What SNS would have mailed, kept as a person would get it: `python -m local.inbox`.

Subscribes itself to every topic of the local cloud, confirms, and keeps each message as inbox/<n>.txt to read and
inbox/<n>.json to test. Promise: a message is complete in both files or absent.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.aws import Aws
from local.idle import Changes

POLL_SECONDS = 0.4


def as_mail(message: dict[str, Any], at: datetime) -> str:
    """The e-mail that AWS would send of a notification."""
    subject = message.get("Subject") or "AWS Notification Message"
    return (
        f"From: AWS Notifications <no-reply@sns.amazonaws.com>\nDate: {format_datetime(at)}\nSubject: {subject}\n"
        f"Topic: {message['TopicArn']}\n\n{message['Message']}\n"
    )


def numbered(folder: Path) -> list[Path]:
    """The kept messages, oldest first."""
    return sorted(folder.glob("*.json"), key=lambda path: int(path.stem))


def messages(folder: Path) -> list[dict[str, Any]]:
    """The kept messages as data: n, at, topic, subject, body."""
    return [json.loads(path.read_text()) for path in numbered(folder)]


class Inbox:
    """Keeps messages in a folder and confirms subscriptions."""

    def __init__(self, aws: Aws, folder: Path) -> None:
        self._aws = aws
        self._folder = folder
        self._numbers: Iterator[int] = itertools.count(len(numbered(folder)) + 1)
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def take(self, message: dict[str, Any]) -> None:
        if message["Type"] == "SubscriptionConfirmation":
            self._aws.client("sns").confirm_subscription(TopicArn=message["TopicArn"], Token=message["Token"])
            return
        with self._lock:
            if message["MessageId"] in self._seen:
                return
            self._seen.add(message["MessageId"])
            self._keep(next(self._numbers), message, datetime.now(UTC))

    def _keep(self, number: int, message: dict[str, Any], at: datetime) -> None:
        (self._folder / f"{number}.txt").write_text(as_mail(message, at))
        kept = {
            "n": number, "at": at.isoformat(timespec="milliseconds"), "topic": message["TopicArn"],
            "subject": message.get("Subject") or "", "body": message["Message"],
        }  # fmt: skip
        fresh = self._folder / f"{number}.new"
        fresh.write_text(json.dumps(kept, indent=1))
        fresh.replace(self._folder / f"{number}.json")
        print(f"{number}: {kept['subject']}", flush=True)


def handler(inbox: Inbox) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            try:
                inbox.take(json.loads(body))
                status = 200
            except (ClientError, BotoCoreError, KeyError, ValueError) as fault:
                print(f"Not taken: {fault}", file=sys.stderr, flush=True)
                status = 500
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """A message taken has its own line."""

    return Handler


def subscribe(aws: Aws, endpoint: str, known: set[str]) -> None:
    """To every topic that is new since the last look."""
    sns = aws.client("sns")
    topics = {topic["TopicArn"] for page in sns.get_paginator("list_topics").paginate() for topic in page["Topics"]}
    known &= topics
    for arn in sorted(topics - known):
        sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=endpoint)
        known.add(arn)


def follow(folder: Path, ended: threading.Event, after: int = 0) -> Iterator[str]:
    """Each message as a mail, those that are there and those that come, until told to end."""
    while not ended.is_set():
        for path in numbered(folder):
            if int(path.stem) > after:
                after = int(path.stem)
                yield path.with_suffix(".txt").read_text()
        ended.wait(POLL_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep what SNS would have mailed.")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--region", required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    aws = Aws(given.endpoint, given.region)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    server = ThreadingHTTPServer(("127.0.0.1", given.port), handler(Inbox(aws, given.state / "inbox")))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (given.state / "ready" / "inbox").touch()
    known: set[str] = set()
    changes = Changes(given.state)
    while not ended.is_set():
        try:
            if changes.to_see():
                subscribe(aws, f"http://127.0.0.1:{given.port}/", known)
        except (BotoCoreError, ClientError) as fault:
            print(f"Not subscribed: {fault}", file=sys.stderr, flush=True)
        ended.wait(POLL_SECONDS)


if __name__ == "__main__":
    main()
