"""The demo's parts: its data, what it tells, how it waits, what it counts, and what it says when something fails."""

from __future__ import annotations

import csv
import http.client
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from local import demo, reviews
from local.aws import Aws
from local.cloud import Cloud, CloudFault
from local.interruption import Interruption
from local.processes import free_port, wait_until
from local.reviews import NoReviews, Review
from local.witness import NotSeen, Teller, Traffic, Witness, iam_is_enforced

RATINGS = (
    "1\t2.26666666667\tThe Rock is destined to be \"new\", and ''Conan''.\r\n"
    "2\t-0.6\tEffective but too tepid biopic\r\n"
    "3\t0\tA film.\r\n"
    "\r\n"
    "4\t-1e-05\tAlmost\tnothing"
)


# --- the data ---


def test_the_sign_of_the_mean_rating_is_the_label_and_exactly_zero_has_none() -> None:
    assert reviews.reviews_of(RATINGS) == [
        Review("The Rock is destined to be \"new\", and ''Conan''.", "positive"),
        Review("Effective but too tepid biopic", "negative"),
        Review("A film.", ""),
        Review("Almost\tnothing", "negative"),
    ]


@pytest.mark.parametrize("line", ["1\t2.0", "1\tgood\tA film.", "no tabs at all"])
def test_a_line_of_another_shape_is_named_and_not_skipped(line: str) -> None:
    with pytest.raises(NoReviews, match="Line 2 .* is not an id, a rating and a text"):
        reviews.reviews_of(f"1\t1\tA film.\n{line}\n")


def test_the_csv_gives_back_every_text_and_label() -> None:
    given = reviews.reviews_of(RATINGS)
    rows = list(csv.reader(io.StringIO(reviews.as_csv(given).decode(), newline="")))
    assert rows == [["text", "label"], *([review.text, review.label] for review in given)]


def test_half_of_the_labels_are_shuffled_the_same_way_each_time_and_no_text_is_touched() -> None:
    given = [Review(f"text {number}", "positive" if number % 3 else "negative") for number in range(300)]
    worse = reviews.half_shuffled(given, seed=1)
    assert worse == reviews.half_shuffled(given, seed=1)
    assert worse != reviews.half_shuffled(given, seed=2)
    assert [review.text for review in worse] == [review.text for review in given]
    assert worse[::2] == given[::2]
    assert 40 < sum(old != new for old, new in zip(given[1::2], worse[1::2], strict=True)) < 90


def test_a_file_that_is_not_the_pinned_one_is_not_opened(tmp_path: Path) -> None:
    forged = tmp_path / reviews.ARCHIVE
    forged.write_bytes(b"PK forged")
    with pytest.raises(NoReviews, match="not the pinned file"):
        reviews.read(forged)


def test_without_an_index_it_says_where_to_put_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / reviews.ARCHIVE).write_bytes(b"a download that was cut off")
    with pytest.raises(NoReviews, match=f"pip could not fetch .* put the file there by hand: .*{reviews.ARCHIVE}"):
        reviews.fetch(tmp_path)


# --- telling and waiting ---


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


# --- requests during a roll ---


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


# --- the interruption ---


class Interrupts(Cloud):
    """Notes whom it was asked to interrupt."""

    asked: list[str | None]

    def interrupt(self, wanted: str | None = None, *, rebalance: bool = False) -> str:
        assert not rebalance
        self.asked = [*getattr(self, "asked", []), wanted]
        return "i-first"


class Sees(Witness):
    """Has these documents in its bucket."""

    documents: dict[str, Any]

    def document(self, key: str) -> dict[str, Any]:
        return dict(self.documents[key])


def progress(attempt: int, phase: str, unit: str, done: int) -> dict[str, Any]:
    return {"attempt": attempt, "phase": phase, "unit": unit, "done": done}


def test_the_demo_interrupts_a_run_once_at_a_step_of_its_fit_and_says_what_was_lost(tmp_path: Path) -> None:
    clock, cloud = Clock(), Interrupts(state=tmp_path, port=free_port())
    say = Teller(clock, colour=False)
    see = Sees(cloud, say)
    see.documents = {"logs/r/1/outcome.json": {"reason": "Spot notice; saved step 9.", "step": 9}}
    spot, run = Interruption(cloud, see, say), {"run_id": "r", "attempt": 1}
    for told in (
        {}, progress(1, "reading", "rows", 5), progress(1, "training", "rows", 5), progress(1, "training", "steps", 0),
    ):  # fmt: skip
        spot.look(run, told)
    assert not spot.machine
    for done in (4, 8):
        spot.look(run, progress(1, "training", "steps", done))
    assert cloud.asked == ["r"]
    clock.sleep(7)
    spot.look(run, progress(2, "training", "steps", 9))
    came = spot.came_of_it({**run, "attempt": 2}, {"resumed": 9, "attempt": 2})
    assert (came["noticed_at_step"], came["steps_lost"], came["seconds_until_it_went_on"]) == (4, 0, 7.0)


def test_a_demo_whose_run_was_not_interrupted_says_so(tmp_path: Path) -> None:
    cloud, say = Interrupts(state=tmp_path, port=free_port()), Teller(Clock(), colour=False)
    with pytest.raises(NotSeen, match="was to be interrupted"):
        Interruption(cloud, Sees(cloud, say), say).came_of_it({"run_id": "r", "attempt": 1}, {})


# --- the end ---


class Fails(demo.Demo):
    """A demo whose cloud never comes up."""

    fault: BaseException = CloudFault("Port 1 is in use by something else.")

    def run(self) -> None:
        with self.say.step("The local cloud"):
            raise self.fault


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (CloudFault("Port 1 is in use."), "Port 1 is in use."),
        (NotSeen("A run ends: not within 5 s."), "A run ends: not within 5 s."),
        (KeyboardInterrupt(), "Interrupted."),
        (ConnectionRefusedError("refused"), "The local cloud does not answer: refused"),
    ],
)
def test_a_demo_that_fails_says_so_in_one_sentence_and_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: BaseException, told: str
) -> None:
    demo.fresh(tmp_path)
    failing = Fails(Cloud(state=tmp_path / "cloud", port=free_port()), Teller(Clock(), colour=False), tmp_path)
    failing.fault = fault
    assert demo.play(failing) == 1
    assert f"The demo failed. {told}" in capsys.readouterr().err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["ok"] is False
    assert report["failure"].startswith(told)
    assert report["steps"] == [{"name": "The local cloud", "seconds": 0.0}]


class Plays(demo.Demo):
    """A demo that came to its end with these promises."""

    kept = True

    def run(self) -> None:
        self.report["loop_seconds"] = 1.0
        self.promise("nothing failed", self.kept)


@pytest.mark.parametrize(("kept", "code"), [(True, 0), (False, 1)])
def test_it_ends_0_only_if_every_promise_came_true(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: bool, code: int
) -> None:
    demo.fresh(tmp_path)
    playing = Plays(Cloud(state=tmp_path / "cloud", port=free_port()), Teller(Clock(), colour=False), tmp_path)
    playing.kept = kept
    assert demo.play(playing) == code
    assert f"{'yes' if kept else 'NO '}  nothing failed" in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text())["ok"] is kept


def test_nothing_of_an_earlier_demo_is_left_to_be_taken_for_this_ones(tmp_path: Path) -> None:
    for folder in ("alerts", "bucket"):
        (tmp_path / folder).mkdir()
    for name in ("report.json", "alerts/9.txt", "bucket/card.html", reviews.ARCHIVE):
        (tmp_path / name).write_text("old")
    demo.fresh(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {reviews.ARCHIVE}
