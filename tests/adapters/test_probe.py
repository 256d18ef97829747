"""Tasks over HTTP, and the function that reaches them: an answer is an answer, and silence is told as silence."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber
from controlplane.adapters.http_tasks import HttpTasks
from controlplane.adapters.lambda_prober import LambdaProber
from controlplane.adapters.s3_bucket import S3Bucket
from controlplane.adapters.sqs_looks import SqsLooks
from controlplane.domain.probes import GoldenRow, Proof, Question, Reply, Verdict
from controlplane.flows.probing import Probing
from controlplane.ports import Unanswered

from tests.architecture.test_contracts import obeys

Stubs = Callable[[str], tuple[Any, Stubber]]
DIGEST = "sha256:" + "7" * 64
QUESTION = Question(7, DIGEST, "films-1", (GoldenRow("warm", "pos"), GoldenRow("dull", "neg")))


class Task(BaseHTTPRequestHandler):
    """An inference task by the contract, or as a test wants it."""

    answers: dict[str, tuple[int, Any]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # noqa: N802  the library's name
        status, body = self.answers[self.path]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:  # noqa: N802
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["texts"]
        labels = {"warm": "pos", "dull": self.answers["dull"][1]}
        self.answers[self.path] = 200, {"predictions": [{"label": labels[text]} for text in texts]}
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Quiet."""


@pytest.fixture
def task() -> Iterator[tuple[str, dict[str, tuple[int, Any]]]]:
    """Its address, and what it answers."""
    answers: dict[str, tuple[int, Any]] = {
        "/version": (200, {"release": "7", "digest": DIGEST, "model": "films-1"}),
        "/ready": (200, {"ready": True}),
        "dull": (200, "neg"),
    }
    handler = type("Handler", (Task,), {"answers": answers})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"127.0.0.1:{server.server_port}", answers
    server.shutdown()
    server.server_close()
    serving.join()


def asking(seconds: float = 8) -> Probing:
    return Probing(HttpTasks(seconds), time.monotonic)


def test_a_task_is_asked_over_http(task: tuple[str, dict[str, tuple[int, Any]]]) -> None:
    address, answers = task
    assert asking().ask(QUESTION, [address], within=60) == [
        (address, Proof(Verdict.AGREES, "all 2 rows of the golden set got the trainer's labels"))
    ]
    answers["dull"] = 200, "pos"
    [(_, proof)] = asking().ask(QUESTION, [address], within=60)
    assert proof.verdict is Verdict.DISAGREES and "1 of 2 rows" in proof.why


def test_what_is_no_json_has_a_status_all_the_same(task: tuple[str, dict[str, tuple[int, Any]]]) -> None:
    address, answers = task
    answers["/version"] = 502, b"<html>"
    assert HttpTasks().get(address, "/version") == Reply(502)


def test_a_task_that_is_not_there_gave_no_answer(task: tuple[str, dict[str, tuple[int, Any]]]) -> None:
    address, _ = task
    nobody = "127.0.0.1:1"
    with pytest.raises(Unanswered):
        HttpTasks().get(nobody, "/version")
    proofs = dict(asking(seconds=1).ask(QUESTION, [nobody, address], within=60))
    assert (proofs[nobody].verdict, proofs[address].verdict) == (Verdict.NO_ANSWER, Verdict.AGREES)


class Slow(BaseHTTPRequestHandler):
    """A task whose model takes its time, one request after the other; `held` is one that never gets an answer."""

    sizes: list[int]
    held: threading.Event
    answers_after: int

    def do_GET(self) -> None:  # noqa: N802
        self._say({"/version": {"release": "7", "digest": DIGEST, "model": "films-1"}}.get(self.path, {"ready": True}))

    def do_POST(self) -> None:  # noqa: N802
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["texts"]
        if len(self.sizes) >= self.answers_after:
            self.held.wait()
        self.sizes.append(len(texts))
        self._say({"predictions": [{"label": "neg" if text == "odd" else "pos"} for text in texts]})

    def _say(self, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Quiet."""


@contextlib.contextmanager
def slow_task(answers_after: int) -> Iterator[tuple[str, list[int]]]:
    """Its address, and how many texts each answered request had; so many requests get an answer, the next none."""
    sizes, held = list[int](), threading.Event()
    handler = type("Handler", (Slow,), {"sizes": sizes, "held": held, "answers_after": answers_after})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"127.0.0.1:{server.server_port}", sizes
    finally:
        held.set()
        server.shutdown()
        server.server_close()
        serving.join()


class TestALargeModel:
    rows = tuple(GoldenRow(f"text {number}", "pos") for number in range(10))

    def test_its_golden_set_is_asked_a_few_rows_at_a_time(self) -> None:
        with slow_task(answers_after=99) as (address, sizes):
            [(_, proof)] = asking().ask(Question(7, DIGEST, "films-1", self.rows), [address], within=60)
        assert (proof.verdict, sizes) == (Verdict.AGREES, [4, 4, 2])

    def test_what_it_could_not_answer_in_time_is_no_disagreement(self) -> None:
        with slow_task(answers_after=1) as (address, _):
            [(_, proof)] = asking().ask(Question(7, DIGEST, "films-1", self.rows), [address], within=1)
        assert proof.verdict is Verdict.NO_ANSWER
        assert "4 of 10 rows of the golden set agree, the next got no answer in time" in proof.why

    def test_what_it_did_answer_can_disagree(self) -> None:
        with slow_task(answers_after=1) as (address, _):
            rows = (GoldenRow("odd", "pos"), *self.rows)
            [(_, proof)] = asking().ask(Question(7, DIGEST, "films-1", rows), [address], within=1)
        assert proof.verdict is Verdict.DISAGREES and "1 of 4 rows" in proof.why

    def test_a_request_waits_no_longer_than_what_is_left_of_the_time(self) -> None:
        class Tasks:
            now, waits = 0.0, list[float]()

            def get(self, *_: str) -> Reply:
                return Reply(200, {"release": "7", "digest": DIGEST, "model": "films-1"})

            def post(self, _address: str, _path: str, body: Any, seconds: float) -> Reply:
                self.waits.append(seconds)
                self.now += 40
                return Reply(200, {"predictions": [{"label": "pos"}] * len(body["texts"])})

        tasks = Tasks()
        asked = Question(7, DIGEST, "films-1", self.rows)
        [(_, proof)] = Probing(tasks, lambda: tasks.now).ask(asked, ["a:1"], within=70)
        assert tasks.waits == [70, 30]
        assert proof.verdict is Verdict.NO_ANSWER and "8 of 10 rows" in proof.why


class TestTheFunctionThatAsks:
    def reply(self, told: object) -> StreamingBody:
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        return StreamingBody(io.BytesIO(body), len(body))

    def test_question_and_answer_obey_the_contract(self, stubbed: Stubs) -> None:
        client, stub = stubbed("lambda")
        address = "10.77.0.9:8080"
        asked = {
            "release": 7,
            "digest": DIGEST,
            "model": "films-1",
            "addresses": [address],
            "rows": [{"text": "warm", "label": "pos"}, {"text": "dull", "label": "neg"}],
        }
        told = {"tasks": [{"address": address, "verdict": "AGREES", "why": "all"}]}
        obeys("probe", asked)
        obeys("probe", told)
        stub.add_response(
            "invoke", {"Payload": self.reply(told)}, {"FunctionName": "probe", "Payload": json.dumps(asked).encode()}
        )
        assert LambdaProber(client, "probe").ask(QUESTION, [address]) == {address: Proof(Verdict.AGREES, "all")}

    def test_more_than_eight_are_asked_in_turn(self, stubbed: Stubs) -> None:
        client, stub = stubbed("lambda")
        addresses = [f"10.77.0.{number}:8080" for number in range(10)]
        for part in (addresses[:8], addresses[8:]):
            told = {"tasks": [{"address": address, "verdict": "AGREES", "why": ""} for address in part]}
            stub.add_response("invoke", {"Payload": self.reply(told)})
        assert set(LambdaProber(client, "probe").ask(QUESTION, addresses)) == set(addresses)

    def test_after_a_call_that_took_long_the_others_are_left_for_the_next_look(self, stubbed: Stubs) -> None:
        client, stub = stubbed("lambda")
        addresses = [f"10.77.0.{number}:8080" for number in range(10)]
        told = {"tasks": [{"address": address, "verdict": "AGREES", "why": ""} for address in addresses[:8]]}
        stub.add_response("invoke", {"Payload": self.reply(told)})
        hour = iter([0.0, 60.0])
        assert list(LambdaProber(client, "probe", lambda: next(hour)).ask(QUESTION, addresses)) == addresses[:8]

    @pytest.mark.parametrize("code", ["TooManyRequestsException", "ServiceException", "AccessDeniedException"])
    def test_a_call_that_was_refused_is_no_answer_and_the_others_are_left_for_later(
        self, stubbed: Stubs, code: str
    ) -> None:
        client, stub = stubbed("lambda")
        stub.add_client_error("invoke", code, "no")
        addresses = [f"10.77.0.{number}:8080" for number in range(10)]
        proofs = LambdaProber(client, "probe").ask(QUESTION, addresses)
        assert list(proofs) == addresses[:8]
        assert {proof.verdict for proof in proofs.values()} == {Verdict.NO_ANSWER}
        assert code in proofs[addresses[0]].why

    def test_a_probe_that_failed_itself_is_no_answer(self, stubbed: Stubs) -> None:
        client, stub = stubbed("lambda")
        stub.add_response(
            "invoke", {"FunctionError": "Unhandled", "Payload": self.reply({"errorMessage": "timed out"})}
        )
        [proof] = LambdaProber(client, "probe").ask(QUESTION, ["10.77.0.9:8080"]).values()
        assert proof.verdict is Verdict.NO_ANSWER and "timed out" in proof.why


def test_the_golden_set_is_read_from_the_models_folder(aws: Callable[[str], Any]) -> None:
    s3 = aws("s3")
    s3.create_bucket(Bucket="data")
    for model, golden in (("films-1", b'[{"text": "warm", "label": "pos"}]'), ("films-2", b"{")):
        manifest = {"files": {"golden.json": {"sha256": hashlib.sha256(golden).hexdigest()}}}
        s3.put_object(Bucket="data", Key=f"models/{model}/golden.json", Body=golden)
        s3.put_object(Bucket="data", Key=f"models/{model}/manifest.json", Body=json.dumps(manifest).encode())
    bucket = S3Bucket(s3, "data")
    assert bucket.golden("films-1") == (GoldenRow("warm", "pos"),)
    assert (bucket.golden("films-2"), bucket.golden("films-3")) == ((), ())


def test_the_next_look_is_a_delayed_message(stubbed: Stubs) -> None:
    sqs, stub = stubbed("sqs")
    asked = {"QueueUrl": "q", "MessageBody": '{"look": "rollout"}', "DelaySeconds": 10}
    stub.add_response("send_message", {}, asked)
    SqsLooks(sqs, "q").again(timedelta(seconds=9.5))
