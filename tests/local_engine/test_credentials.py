"""A task's credentials: from its role, behind a path of its own, renewed in time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

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


def ask(credentials: Credentials, path: str) -> httpx.Response:
    async def one() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(credentials.app()), base_url="http://x") as client:
            return await client.get(path)

    return asyncio.run(one())


@pytest.fixture
def sts() -> FakeSts:
    return FakeSts()


@pytest.fixture
def credentials(sts: FakeSts) -> Credentials:
    return Credentials(sts.assume, lambda: sts.now)


def test_the_document_is_the_one_that_sdks_read(sts: FakeSts, credentials: Credentials) -> None:
    path = asyncio.run(credentials.open("arn:aws:iam::0:role/task", "c1"))
    assert ask(credentials, path).json() == {
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
    assert ask(credentials, path).json()["AccessKeyId"] == expected


def test_each_container_has_its_own_path_and_it_ends_with_the_container(credentials: Credentials) -> None:
    one, two = (asyncio.run(credentials.open("role", name)) for name in ("c1", "c2"))
    credentials.close(one)
    assert [ask(credentials, path).status_code for path in (one, two, "/credentials/guessed")] == [404, 200, 404]


@pytest.mark.parametrize("matcher, expected", [("200", {200}), ("200,204", {200, 204}), ("200-202", {200, 201, 202})])
def test_a_target_groups_matcher_is_read(matcher: str, expected: set[int]) -> None:
    assert statuses(matcher) == expected
