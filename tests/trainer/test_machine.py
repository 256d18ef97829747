"""The end of the machine, seen coming: the metadata service, SIGTERM, and a real process that is told to stop."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trainer.errors import Interrupted, Stopped
from trainer.machine import MetadataService, Notice, Watch, watch_metadata, watch_sigterm


class Metadata:
    """IMDSv2 on the loopback: no page without a token, 404 where there is nothing to announce."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                asked_for = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
                self.reply(200 if self.path == "/latest/api/token" and asked_for else 400, "the-token")

            def do_GET(self) -> None:
                outer.asked.append(self.path)
                if self.headers.get("X-aws-ec2-metadata-token") != "the-token":
                    self.reply(401, "")
                elif (page := outer.pages.get(self.path)) is None:
                    self.reply(404, "")
                else:
                    self.reply(200, page)

            def reply(self, status: int, body: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    service = Metadata()
    yield service
    service.close()


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Come back as soon as it is so; fail when it is not by the deadline."""
    reached = threading.Event()
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        reached.wait(0.01)


def test_there_is_no_notice_while_nothing_is_announced(metadata: Metadata) -> None:
    assert MetadataService(metadata.endpoint).notice() is None
    assert metadata.asked == [
        "/latest/meta-data/spot/instance-action",
        "/latest/meta-data/events/recommendations/rebalance",
    ]


def test_a_spot_notice_is_told_with_its_action_and_its_time(metadata: Metadata) -> None:
    action = {"action": "terminate", "time": "2026-01-01T00:02:00Z"}
    metadata.pages["/latest/meta-data/spot/instance-action"] = json.dumps(action)
    assert MetadataService(metadata.endpoint).notice() == Notice(
        "spot", "Spot notice: terminate at 2026-01-01T00:02:00Z"
    )


def test_a_rebalance_recommendation_is_a_notice_too(metadata: Metadata) -> None:
    page = json.dumps({"noticeTime": "2026-01-01T00:00:00Z"})
    metadata.pages["/latest/meta-data/events/recommendations/rebalance"] = page
    told = Notice("rebalance", "Rebalance recommendation of 2026-01-01T00:00:00Z")
    assert MetadataService(metadata.endpoint).notice() == told


def test_the_watch_hears_of_a_notice_that_comes_later(metadata: Metadata) -> None:
    watch = Watch(time.monotonic)
    stop = watch_metadata(watch, MetadataService(metadata.endpoint), every_s=0.01)
    wait_for(lambda: len(metadata.asked) > 4)
    assert watch.notice is None
    metadata.pages["/latest/meta-data/spot/instance-action"] = '{"action": "stop", "time": "soon"}'
    wait_for(lambda: watch.notice is not None)
    assert watch.notice == Notice("spot", "Spot notice: stop at soon")
    stop.set()


def test_a_service_that_is_broken_or_away_does_not_end_the_watching(metadata: Metadata) -> None:
    watch = Watch(time.monotonic)
    metadata.pages["/latest/meta-data/spot/instance-action"] = "not json"
    stop = watch_metadata(watch, MetadataService(metadata.endpoint), every_s=0.01)
    wait_for(lambda: len(metadata.asked) > 3)
    assert watch.notice is None
    metadata.pages["/latest/meta-data/spot/instance-action"] = '{"action": "terminate", "time": "now"}'
    wait_for(lambda: watch.notice == Notice("spot", "Spot notice: terminate at now"))
    stop.set()
    with pytest.raises(OSError, match="refused"):
        MetadataService("http://127.0.0.1:1").notice()


def test_sigterm_is_a_notice_and_the_first_notice_is_the_one_told() -> None:
    before = signal.getsignal(signal.SIGTERM)
    watch = Watch(time.monotonic)
    try:
        watch_sigterm(watch)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: watch.notice is not None)
    finally:
        signal.signal(signal.SIGTERM, before)
    watch.give_notice("spot", "something else")
    assert watch.notice == Notice("sigterm", "SIGTERM: the machine is shutting down")


def stopped_at(seconds: float, already_s: float = 0.0, **limits: float | None) -> Interrupted | Stopped | None:
    now = [0.0]
    watch = Watch(lambda: now[0], already_s)
    watch.limit(**({"max_hours": 1.0} | limits))  # type: ignore[arg-type]
    now[0] = seconds
    return watch.end()


def test_the_time_limit_stops_half_a_minute_early_so_that_the_last_checkpoint_is_inside_it() -> None:
    assert stopped_at(3_569) is None
    end = stopped_at(3_571)
    assert isinstance(end, Stopped) and end.cause == "hours"
    assert str(end) == "The 1 hours that this attempt may take are used up: raise MaxRunHours, then drop again"
    assert stopped_at(3_000, already_s=600) is not None


def test_the_cost_limit_counts_seconds_at_the_price_and_a_minute_at_least() -> None:
    assert stopped_at(1_700, max_cost=0.05, dollars_an_hour=0.1) is None
    end = stopped_at(1_790, max_cost=0.05, dollars_an_hour=0.1)
    assert isinstance(end, Stopped) and end.cause == "cost"
    assert "The $0.05 that this attempt may cost are used up at $0.1 an hour: raise MaxRunCost" in str(end)
    assert stopped_at(0, max_cost=0.001, dollars_an_hour=0.1) is not None  # a minute costs more
    assert stopped_at(1_790, max_cost=0.05, dollars_an_hour=None) is None
    assert stopped_at(1_790, max_cost=None, dollars_an_hour=0.1) is None


def test_a_notice_goes_before_a_limit() -> None:
    watch = Watch(lambda: 0.0)
    watch.limit(1e-9)
    watch.give_notice("spot", "Spot notice: terminate at noon")
    with pytest.raises(Interrupted, match=r"^Spot notice: terminate at noon; saved step 3\.$") as told:
        watch.end_if_told("saved step 3")
    assert told.value.cause == "spot"
