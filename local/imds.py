"""The metadata service of one machine, on the machine's own loopback address.

Promise: what a program on EC2 reads there, it reads here, in the same shapes, by IMDSv2 only: a request without a token
is refused. The Spot notice is a 404 until one is announced, as on EC2.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LONGEST_TOKEN_SECONDS = 21600
RENEW_BEFORE_SECONDS = 300.0


@dataclass(frozen=True)
class Credentials:
    key: str
    secret: str
    token: str
    expires: datetime


@dataclass
class Facts:
    """What the service answers. `notice` and `rebalance` are set when AWS would announce them."""

    instance_id: str
    instance_type: str
    image_id: str
    zone: str
    lifecycle: str
    account: str
    private_ip: str
    tags: Mapping[str, str]
    role: str | None
    profile_arn: str | None
    fetch: Callable[[], Credentials]
    notice: datetime | None = None
    rebalance: datetime | None = None
    held: Credentials | None = field(default=None, repr=False)

    @property
    def region(self) -> str:
        return self.zone[:-1]

    def credentials(self, now: datetime) -> Credentials:
        """The role's credentials, renewed before they run out."""
        if self.held is None or (self.held.expires - now).total_seconds() < RENEW_BEFORE_SECONDS:
            self.held = self.fetch()
        return self.held


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def answer(facts: Facts, path: str, now: datetime) -> str | None:
    """The text at a path below /latest/, or None where EC2 answers 404."""
    parts = path.strip("/").split("/", 1)
    if parts[0] == "dynamic":
        return identity(facts) if path.strip("/") == "dynamic/instance-identity/document" else None
    if parts[0] != "meta-data" or len(parts) == 1:
        return None
    name = parts[1].rstrip("/")
    plain = {
        "instance-id": facts.instance_id,
        "instance-type": facts.instance_type,
        "ami-id": facts.image_id,
        "local-ipv4": facts.private_ip,
        "instance-life-cycle": facts.lifecycle,
        "placement/availability-zone": facts.zone,
        "placement/region": facts.region,
        "tags/instance": "\n".join(sorted(facts.tags)),
        "iam/security-credentials": facts.role,
        "spot/instance-action": None if facts.notice is None else notice(facts.notice),
        "spot/termination-time": None if facts.notice is None else stamp(facts.notice),
        "events/recommendations/rebalance": (
            None if facts.rebalance is None else json.dumps({"noticeTime": stamp(facts.rebalance)})
        ),
    }
    if name in plain:
        return plain[name]
    if name.startswith("tags/instance/"):
        return facts.tags.get(name.removeprefix("tags/instance/"))
    if facts.role is None:
        return None
    if name == "iam/info":
        return json.dumps({"Code": "Success", "LastUpdated": stamp(now), "InstanceProfileArn": facts.profile_arn})
    if name == f"iam/security-credentials/{facts.role}":
        return credentials_document(facts.credentials(now), now)
    return None


def notice(at: datetime) -> str:
    return json.dumps({"action": "terminate", "time": stamp(at)})


def credentials_document(credentials: Credentials, now: datetime) -> str:
    return json.dumps({
        "Code": "Success", "LastUpdated": stamp(now), "Type": "AWS-HMAC", "AccessKeyId": credentials.key,
        "SecretAccessKey": credentials.secret, "Token": credentials.token, "Expiration": stamp(credentials.expires),
    })  # fmt: skip


def identity(facts: Facts) -> str:
    return json.dumps({
        "accountId": facts.account, "architecture": "x86_64", "availabilityZone": facts.zone, "imageId": facts.image_id,
        "instanceId": facts.instance_id, "instanceType": facts.instance_type, "privateIp": facts.private_ip,
        "region": facts.region, "version": "2017-09-30",
    })  # fmt: skip


class Imds:
    """Serves until `close`. `endpoint` is what AWS_EC2_METADATA_SERVICE_ENDPOINT has to say."""

    def __init__(self, facts: Facts, address: str, *, clock: Callable[[], float] = time.time) -> None:
        self.facts = facts
        self._tokens: dict[str, float] = {}
        self._clock = clock
        self._server = ThreadingHTTPServer((address, 0), handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    @property
    def endpoint(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{str(host)}:{port}"

    def new_token(self, seconds: int) -> str:
        token = secrets.token_urlsafe(32)
        self._tokens[token] = self._clock() + seconds
        return token

    def knows(self, token: str | None) -> bool:
        return token is not None and self._tokens.get(token, 0.0) > self._clock()

    def get(self, path: str) -> str | None:
        return answer(self.facts, path, datetime.fromtimestamp(self._clock(), UTC))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def handler(imds: Imds) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            wanted = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            if self.path != "/latest/api/token":
                self.reply(404, "Not Found")
            elif not wanted.isdigit() or not 1 <= int(wanted) <= LONGEST_TOKEN_SECONDS:
                self.reply(400, "Bad Request")
            else:
                self.reply(200, imds.new_token(int(wanted)), {"X-aws-ec2-metadata-token-ttl-seconds": wanted})

        def do_GET(self) -> None:
            if not imds.knows(self.headers.get("X-aws-ec2-metadata-token")):
                self.reply(401, "Unauthorized")
                return
            found = imds.get(self.path.removeprefix("/latest/")) if self.path.startswith("/latest/") else None
            self.reply(404, "Not Found") if found is None else self.reply(200, found)

        def reply(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Every SDK asks every few seconds; that is not worth a line."""

    return Handler
