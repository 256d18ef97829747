"""What the demo tells of the local cloud: how it waits, what it sees once, what it counts as a failed request."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from local.aws import Aws
from local.cloud import Cloud
from local.processes import free_port, wait_until
from local.traffic import Traffic
from local.witness import NotSeen, Teller, Witness, iam_is_enforced


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_each_line_has_its_second_and_each_step_its_length(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    say = Teller(clock, colour=False)
    clock.sleep(1.5)
    with say.step("First"):
        say("one\ntwo")
        clock.sleep(2)
    assert capsys.readouterr().out == "\n1. First\n   1.5 s  one\n          two\n"
    assert say.steps == [{"name": "First", "seconds": 2.0}]


def test_a_step_that_fails_keeps_its_length() -> None:
    clock = Clock()
    say = Teller(clock, colour=False)
    with pytest.raises(NotSeen), say.step("First"):
        clock.sleep(3)
        raise NotSeen("no")
    assert say.steps[0]["seconds"] == 3.0


class Up(Cloud):
    """A cloud of which only the emulator runs."""

    alive = True

    def running(self) -> bool:
        return self.alive


LEDGER = "ledger"


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def witness(aws: Aws, tmp_path: Path, lines: list[str]) -> Iterator[Witness]:
    cloud = Up(state=tmp_path, port=int(aws.endpoint.rpartition(":")[2]), region=aws.region)
    dynamodb = aws.client("dynamodb")
    dynamodb.create_table(
        TableName=LEDGER,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "kind", "KeyType": "HASH"}, {"AttributeName": "id", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("kind", "id")],
    )
    clock = Clock()
    yield Witness(cloud, lines.append, clock=clock, sleep=clock.sleep, outputs={"LedgerTableName": LEDGER})
    dynamodb.delete_table(TableName=LEDGER)


def put(aws: Aws, kind: str, name: str, document: Any) -> None:
    item = {"kind": {"S": kind}, "id": {"S": name}, "doc": {"S": json.dumps(document)}}
    aws.client("dynamodb").put_item(TableName=LEDGER, Item=item)


def test_what_does_not_come_is_told_with_what_was_seen_last_and_where_the_logs_are(witness: Witness) -> None:
    with pytest.raises(NotSeen, match=r"^A run ends: not within 5 s\. Last seen: run 7 is QUEUED\. Logs: .*logs$"):
        witness.wait("A run ends", 5, lambda: (None, "run 7 is QUEUED"))


def test_waiting_ends_at_once_when_the_cloud_has_ended(witness: Witness) -> None:
    assert isinstance(witness.cloud, Up)
    witness.cloud.alive = False
    (witness.cloud.state / "cloud.json").write_text(json.dumps({"reason": "the emulator ended"}))
    with pytest.raises(NotSeen, match=r"ended \(the emulator ended\) before this came: A run ends"):
        witness.wait("A run ends", 1e9, lambda: (None, "nothing"))


def test_the_ledger_and_the_mails_are_told_once(aws: Aws, witness: Witness, lines: list[str]) -> None:
    month = time.strftime("history %Y-%m", time.gmtime())
    put(aws, month, "1", {"at": "1", "subject": "run r", "was": "QUEUED", "now": "LAUNCHING", "why": "attempt 1"})
    put(aws, month, "2", {"at": "2", "subject": "run r", "was": "LAUNCHING", "now": "LAUNCHING", "why": "machine i"})
    put(aws, month, "3", {"at": "3", "subject": "run r", "was": "LAUNCHING", "now": "LAUNCHING", "why": "machine i"})
    (witness.cloud.state / "inbox").mkdir()
    (witness.cloud.state / "inbox" / "1.json").write_text(json.dumps({"n": 1, "subject": "Tidegate: hello"}))
    witness.look()
    witness.look()
    told = ["ledger: run r QUEUED → LAUNCHING: attempt 1", "ledger: run r LAUNCHING: machine i"]
    assert lines == [*told, "mail: Tidegate: hello"]


def test_the_champion_is_read_from_the_ledger(aws: Aws, witness: Witness) -> None:
    assert witness.champion("default") is None
    put(aws, "champion", "default", "run-1")
    assert witness.champion("default") == "run-1"


ROLE_STACK = """
Resources:
  Bucket: {Type: AWS::S3::Bucket}
  Ledger:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      KeySchema: [{AttributeName: kind, KeyType: HASH}, {AttributeName: id, KeyType: RANGE}]
      AttributeDefinitions: [{AttributeName: kind, AttributeType: S}, {AttributeName: id, AttributeType: S}]
  OnDataDroppedRole:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: "sts:AssumeRole"}]
      Policies:
        - PolicyName: its
          PolicyDocument:
            Statement:
              - {Effect: Allow, Action: "dynamodb:GetItem", Resource: !GetAtt Ledger.Arn}
              - {Effect: Allow, Action: "s3:PutObject", Resource: !Sub "${Bucket.Arn}/PREFIX/*"}
Outputs:
  BucketName: {Value: !Ref Bucket}
  LedgerTableName: {Value: !Ref Ledger}
"""


@pytest.mark.parametrize(("prefix", "enforced"), [("quarantine", True), ("models", False)])
def test_iam_is_proven_by_a_call_that_must_be_refused(
    aws: Aws, tmp_path: Path, lines: list[str], prefix: str, enforced: bool
) -> None:
    stack = f"role-{prefix}"
    cloud = Up(state=tmp_path, port=int(aws.endpoint.rpartition(":")[2]), region=aws.region, stack=stack)
    cloudformation = aws.client("cloudformation")
    template = ROLE_STACK.replace("PREFIX", prefix)
    cloudformation.create_stack(StackName=stack, TemplateBody=template, Capabilities=["CAPABILITY_IAM"])
    wait_until(lambda: len(cloud.outputs()) == 2, 30, "The stack with the role")
    assert iam_is_enforced(cloud, cloud.outputs(), lines.append) is enforced
    assert lines[-1].endswith("is refused: AccessDenied" if enforced else "the policies are not enforced")


def answering(behave: Callable[[int], int | None]) -> tuple[type[BaseHTTPRequestHandler], list[tuple[str, int]]]:
    """A service that answers its n-th request with what `behave` says; None cuts the connection."""
    seen: list[tuple[str, int]] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body are two writes

        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                seen.append((told["text"], self.client_address[1]))
                status = behave(len(seen))
            if status is None:
                self.close_connection = True
                return
            body = json.dumps({"release": "1" if len(seen) < 10 else "2"}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    return Handler, seen


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[Callable[[], http.client.HTTPConnection]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield lambda: http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_requests_go_over_kept_and_over_fresh_connections_and_each_answer_counts_for_its_release() -> None:
    handler, seen = answering(lambda _: 200)
    with serving(handler) as connect:
        with Traffic(connect, "host", ["a", "b"], rate=300, kept=1, fresh=1) as traffic:
            wait_until(lambda: traffic.sent >= 40, 20, "40 requests")
        assert traffic.failures == []
        assert traffic.sent == len(seen) == sum(traffic.by_release.values())
        assert set(traffic.by_release) == {"1", "2"}
        ports = [port for _, port in seen]
        assert max(map(ports.count, ports)) >= 15, "one connection is kept"
        assert sum(ports.count(port) == 1 for port in ports) >= 15, "the others are fresh"
        assert 0 < traffic.slowest(0.5) <= traffic.slowest(0.95)


@pytest.mark.parametrize(("behave", "word"), [(503, "HTTP 503"), (None, "RemoteDisconnected")])
def test_every_answer_but_200_and_every_broken_connection_is_a_failed_request(behave: int | None, word: str) -> None:
    handler, seen = answering(lambda number: behave if number % 5 == 0 else 200)
    with serving(handler) as connect:
        with Traffic(connect, "host", ["a"], rate=300, kept=2, fresh=1) as traffic:
            wait_until(lambda: traffic.sent >= 50, 20, "50 requests")
        assert traffic.sent == len(seen)
        assert len(traffic.failures) == len(seen) // 5
        assert all(word in failure for failure in traffic.failures)


def test_a_service_that_is_not_there_is_a_failure_and_not_a_silence() -> None:
    port = free_port()
    connect = lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=1)  # noqa: E731
    with Traffic(connect, "host", ["a"], rate=300, kept=1, fresh=1) as traffic:
        wait_until(lambda: traffic.sent >= 5, 10, "5 requests")
    assert len(traffic.failures) == traffic.sent
