"""The registry protocol, as far as a push and a pull need it: manifests and blobs, by tag or by digest.

The promise: bytes that were asked for by digest have that digest, or a RegistryError says so.
"""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import boto3

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
SECONDS_PER_CALL = 60.0


class RegistryError(Exception):
    """The registry refused, or what it sent is not what was asked for."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Registry:
    """One repository-holding registry behind the gateway, with a token that ECR gave out."""

    endpoint: str
    host: str
    authorization: str

    def manifest(self, repository: str, reference: str) -> tuple[str, bytes]:
        """The manifest's digest and bytes. `reference` is a tag or a digest."""
        answer = self._call(
            "GET", f"{repository}/manifests/{reference}", headers={"Accept": f"{OCI_MANIFEST}, {DOCKER_MANIFEST}"}
        )
        if reference.startswith("sha256:"):
            return reference, verified(answer.body, reference, f"the manifest of {repository}")
        return digest_of(answer.body), answer.body

    def blob(self, repository: str, digest: str) -> bytes:
        return verified(self._call("GET", f"{repository}/blobs/{digest}").body, digest, f"a blob of {repository}")

    def put_blob(self, repository: str, content: bytes) -> str:
        """Upload unless it is there already; return the digest."""
        digest = digest_of(content)
        if self._call("HEAD", f"{repository}/blobs/{digest}", accept=(200, 404)).status == 200:
            return digest
        started = self._call("POST", f"{repository}/blobs/uploads/", accept=(202,))
        session = started.headers["location"].removeprefix("/v2/")
        self._call(
            "PUT",
            session,
            query={"digest": digest},
            body=content,
            headers={"Content-Type": "application/octet-stream"},
            accept=(201,),
        )
        return digest

    def put_manifest(self, repository: str, tag: str, manifest: bytes, media_type: str) -> str:
        """Publish the manifest under a tag; return the digest that the registry recorded."""
        answer = self._call(
            "PUT", f"{repository}/manifests/{tag}", body=manifest, headers={"Content-Type": media_type}, accept=(201,)
        )
        return answer.headers["docker-content-digest"]

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        accept: tuple[int, ...] = (200,),
    ) -> Answer:
        # The gateway serves every account and region on one address; `ns` names the registry, as mirrors do it.
        parameters = urllib.parse.urlencode({**(query or {}), "ns": self.host})
        request = urllib.request.Request(
            f"{self.endpoint}/v2/{path}?{parameters}",
            data=body,
            method=method,
            headers={"Authorization": f"Basic {self.authorization}", **(headers or {})},
        )
        try:
            with DIRECT.open(request, timeout=SECONDS_PER_CALL) as response:
                answer = Answer(response.status, lowered(response.headers.items()), response.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                answer = Answer(refusal.code, lowered(refusal.headers.items()), refusal.read())
        except OSError as fault:
            raise RegistryError(f"The registry at {self.endpoint} does not answer: {fault}.") from fault
        if answer.status not in accept:
            raise RegistryError(f"The registry refused {method} {path}: {reason(answer)}.")
        return answer


# A proxy of the user's environment must not stand between this machine and its own gateway.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def connect(endpoint: str | None = None, region: str | None = None) -> Registry:
    """The local ECR, with a fresh token. Without arguments the SDK's usual settings decide."""
    with closing(boto3.client("ecr", endpoint_url=endpoint, region_name=region)) as ecr:
        granted = ecr.get_authorization_token()["authorizationData"][0]
        host = urllib.parse.urlsplit(granted["proxyEndpoint"]).netloc
        return Registry(ecr.meta.endpoint_url.rstrip("/"), host, granted["authorizationToken"])


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def verified(content: bytes, digest: str, what: str) -> bytes:
    found = digest_of(content)
    if found != digest:
        raise RegistryError(f"Refused {what}: it should be {digest}, but is {found}. Push the image again.")
    return content


def lowered(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


def reason(answer: Answer) -> str:
    try:
        fault = json.loads(answer.body)["errors"][0]
        return f"{fault['code']}: {fault['message']}"
    except (ValueError, KeyError, IndexError, TypeError):
        return f"HTTP {answer.status}"
