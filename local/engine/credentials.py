"""A task's role credentials, served as ECS serves them: one path per container, on loopback, renewed before they end.

The emulator enforces the role's policies on whoever holds these credentials, so a task may do here what it may do
on AWS, and nothing else. A path cannot be guessed and ends with its container.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import boto3
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

# SDKs ask again from 15 minutes before the end; what they get then must last longer than what they have.
RENEW_BEFORE_THE_END = timedelta(minutes=20)


@dataclass(frozen=True)
class Granted:
    access_key: str
    secret_key: str
    token: str
    ends: datetime


class Roles:
    """Sessions of roles, by STS."""

    def __init__(self, endpoint: str, region: str) -> None:
        self._sts = boto3.client("sts", endpoint_url=endpoint, region_name=region)

    def assume(self, role: str, session: str) -> Granted:
        answer = self._sts.assume_role(RoleArn=role, RoleSessionName=session)["Credentials"]
        return Granted(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"], answer["Expiration"])


@dataclass
class Grant:
    role: str
    session: str
    current: Granted | None = None


class Credentials:
    def __init__(self, assume: Callable[[str, str], Granted], now: Callable[[], datetime]) -> None:
        self._assume = assume
        self._now = now
        self._grants: dict[str, Grant] = {}

    async def open(self, role: str, session: str) -> str:
        """Assume the role now, so that a role that cannot be assumed fails the task's start; return its path."""
        grant = Grant(role, session)
        await self._fresh(grant)
        key = secrets.token_urlsafe(24)
        self._grants[key] = grant
        return f"/credentials/{key}"

    def close(self, path: str) -> None:
        self._grants.pop(path.rpartition("/")[2], None)

    async def answer(self, request: Request) -> Response:
        grant = self._grants.get(request.path_params["key"])
        if grant is None:
            return JSONResponse({"code": "NotFound", "message": "No container has this path."}, 404)
        granted = await self._fresh(grant)
        return JSONResponse(
            {
                "RoleArn": grant.role,
                "AccessKeyId": granted.access_key,
                "SecretAccessKey": granted.secret_key,
                "Token": granted.token,
                "Expiration": granted.ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/credentials/{key}", self.answer)])

    async def _fresh(self, grant: Grant) -> Granted:
        if grant.current is None or grant.current.ends - self._now() < RENEW_BEFORE_THE_END:
            grant.current = await asyncio.to_thread(self._assume, grant.role, grant.session)
        return grant.current
