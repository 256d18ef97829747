"""A task's credentials: from its role, behind a path of its own, renewed in time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from local.engine.credentials import Credentials, Granted
from local.engine.health import statuses

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class FakeSts:
    """Sessions of one hour, numbered."""

    def __init__(self) -> None:
        self.now = NOON
        self.sessions: list[tuple[str, str]] = []

    def assume(self, role: str, session: str) -> Granted:
        self.sessions.append((role, session))
        number = len(self.sessions)
        return Granted(f"ASIA{number}", f"secret{number}", f"token{number}", self.now + timedelta(hours=1))


@pytest.fixture
def sts() -> FakeSts:
    return FakeSts()


@pytest.fixture
def credentials(sts: FakeSts) -> Credentials:
    return Credentials(sts.assume, lambda: sts.now)


def test_the_document_is_the_one_that_sdks_read(sts: FakeSts, credentials: Credentials) -> None:
    path = asyncio.run(credentials.open("arn:aws:iam::0:role/task", "c1"))
    assert TestClient(credentials.app()).get(path).json() == {
        "RoleArn": "arn:aws:iam::0:role/task", "AccessKeyId": "ASIA1", "SecretAccessKey": "secret1",
        "Token": "token1", "Expiration": "2026-01-01T13:00:00Z",
    }  # fmt: skip
    assert sts.sessions == [("arn:aws:iam::0:role/task", "c1")]


@pytest.mark.parametrize("minutes, expected", [(39, "ASIA1"), (41, "ASIA2"), (90, "ASIA2")])
def test_a_session_is_renewed_before_it_ends(
    sts: FakeSts, credentials: Credentials, minutes: int, expected: str
) -> None:
    path = asyncio.run(credentials.open("role", "c1"))
    sts.now = NOON + timedelta(minutes=minutes)
    assert TestClient(credentials.app()).get(path).json()["AccessKeyId"] == expected


def test_each_container_has_its_own_path_and_it_ends_with_the_container(credentials: Credentials) -> None:
    one, two = (asyncio.run(credentials.open("role", name)) for name in ("c1", "c2"))
    credentials.close(one)
    client = TestClient(credentials.app())
    assert (client.get(one).status_code, client.get(two).status_code) == (404, 200)
    assert client.get("/credentials/guessed").status_code == 404


@pytest.mark.parametrize("matcher, expected", [("200", {200}), ("200,204", {200, 204}), ("200-202", {200, 201, 202})])
def test_a_target_groups_matcher_is_read(matcher: str, expected: set[int]) -> None:
    assert statuses(matcher) == expected
