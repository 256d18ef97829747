from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from local.imds import Credentials, Facts, Imds

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"
START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START.timestamp()

    def __call__(self) -> float:
        return self.now


class Sts:
    """Gives credentials that last an hour, numbered."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.given = 0

    def __call__(self) -> Credentials:
        self.given += 1
        return Credentials(f"KEY{self.given}", "s", "t", datetime.fromtimestamp(self.clock(), UTC) + timedelta(hours=1))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def imds(clock: Clock) -> Iterator[Imds]:
    facts = Facts(
        instance_id="i-1", instance_type="c6i.large", image_id="ami-1", zone="us-east-1b", lifecycle="spot",
        account="000000000000", private_ip="10.0.0.1", tags={"tidegate:run": "default-1", "tidegate:attempt": "2"},
        role="trainer", profile_arn="arn:aws:iam::000000000000:instance-profile/trainer", fetch=Sts(clock),
    )  # fmt: skip
    imds = Imds(facts, "127.78.250.1", clock=clock)
    yield imds
    imds.close()


def ask(imds: Imds, path: str, headers: dict[str, str], method: str = "GET") -> tuple[int, str]:
    wire = http.client.HTTPConnection(imds.endpoint.removeprefix("http://"), timeout=5)
    wire.request(method, path, headers=headers)
    answer = wire.getresponse()
    text = answer.read().decode()
    wire.close()
    return answer.status, text


def token(imds: Imds, seconds: str = "60") -> str:
    status, text = ask(imds, "/latest/api/token", {TTL: seconds}, "PUT")
    assert status == 200
    return text


def get(imds: Imds, path: str) -> tuple[int, str]:
    return ask(imds, f"/latest/{path}", {TOKEN: token(imds)})


def test_without_a_token_nothing_is_told(imds: Imds) -> None:
    assert ask(imds, "/latest/meta-data/instance-id", {})[0] == 401
    assert ask(imds, "/latest/meta-data/instance-id", {TOKEN: "guessed"})[0] == 401


def test_a_token_lasts_as_long_as_was_asked(imds: Imds, clock: Clock) -> None:
    mine = token(imds, "60")
    assert ask(imds, "/latest/meta-data/instance-id", {TOKEN: mine}) == (200, "i-1")
    clock.now += 61
    assert ask(imds, "/latest/meta-data/instance-id", {TOKEN: mine})[0] == 401


@pytest.mark.parametrize("seconds", ["", "0", "21601", "soon"])
def test_a_token_needs_a_length_between_a_second_and_six_hours(imds: Imds, seconds: str) -> None:
    assert ask(imds, "/latest/api/token", {TTL: seconds}, "PUT")[0] == 400


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("meta-data/instance-type", "c6i.large"),
        ("meta-data/placement/availability-zone", "us-east-1b"),
        ("meta-data/placement/region", "us-east-1"),
        ("meta-data/instance-life-cycle", "spot"),
        ("meta-data/tags/instance", "tidegate:attempt\ntidegate:run"),
        ("meta-data/tags/instance/", "tidegate:attempt\ntidegate:run"),
        ("meta-data/tags/instance/tidegate:run", "default-1"),
        ("meta-data/iam/security-credentials/", "trainer"),
    ],
)
def test_a_machine_reads_about_itself(imds: Imds, path: str, text: str) -> None:
    assert get(imds, path) == (200, text)


@pytest.mark.parametrize("path", ["meta-data/no-such-thing", "meta-data/tags/instance/other", "user-data", "dynamic/x"])
def test_what_is_not_there_is_a_404(imds: Imds, path: str) -> None:
    assert get(imds, path)[0] == 404


def test_the_notice_is_a_404_until_it_is_announced(imds: Imds) -> None:
    assert get(imds, "meta-data/spot/instance-action")[0] == 404
    imds.facts.notice = START + timedelta(seconds=120)
    status, text = get(imds, "meta-data/spot/instance-action")
    assert (status, json.loads(text)) == (200, {"action": "terminate", "time": "2026-01-01T00:02:00Z"})


def test_the_rebalance_advice_is_a_404_until_it_is_given(imds: Imds) -> None:
    assert get(imds, "meta-data/events/recommendations/rebalance")[0] == 404
    imds.facts.rebalance = START
    status, text = get(imds, "meta-data/events/recommendations/rebalance")
    assert (status, json.loads(text)) == (200, {"noticeTime": "2026-01-01T00:00:00Z"})


def test_credentials_are_renewed_before_they_run_out(imds: Imds, clock: Clock) -> None:
    def key() -> str:
        return str(json.loads(get(imds, "meta-data/iam/security-credentials/trainer")[1])["AccessKeyId"])

    assert [key(), key()] == ["KEY1", "KEY1"]
    clock.now += 3400
    assert key() == "KEY2"


def test_a_machine_without_a_role_has_no_credentials(imds: Imds) -> None:
    imds.facts.role = None
    assert get(imds, "meta-data/iam/security-credentials/")[0] == 404
    assert get(imds, "meta-data/iam/info")[0] == 404


def test_the_identity_document_names_the_machine(imds: Imds) -> None:
    status, text = get(imds, "dynamic/instance-identity/document")
    document = json.loads(text)
    assert status == 200
    assert (document["instanceId"], document["region"], document["accountId"]) == ("i-1", "us-east-1", "000000000000")
