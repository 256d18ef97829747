"""An image pushed to ECR: named by its digest, never by its tag. Most pushes are not deployable, and say why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

SIGNATURE_TAG = re.compile(r"^sha256-[0-9a-f]{64}(\.(sig|att|sbom))?$")
DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
IMAGE_CONFIGS = frozenset(
    {"application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json"}
)
INDEXES = frozenset(
    {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
)
MANIFESTS = frozenset(
    {"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"}
)


class IgnoredPush(Exception):
    """The push is not for the service; the message says why."""


@dataclass(frozen=True)
class Push:
    """One ECR Image Action; `tag` is "" when untagged. Pushes before 2023 tell no media types; then they are "".

    `at` is the event's time, to the second; None for what the repository told: it keeps no time of a tag.
    """

    repository: str
    digest: str
    tag: str
    manifest_type: str = ""
    artifact_type: str = ""
    at: datetime | None = None

    @property
    def cause(self) -> str:
        """A digest under a new tag is another push: a person's decision. The same event twice is not."""
        return f"push {self.digest} {self.tag}"


def deployable(push: Push, *, repository: str, tag_pattern: str) -> Push:
    """The push itself, when it may be for the service by what the event tells. Raises IgnoredPush."""
    if push.repository != repository:
        raise IgnoredPush(f"another repository: {push.repository}")
    if not push.tag:
        raise IgnoredPush("untagged: a child of an index, or an attestation")
    if SIGNATURE_TAG.match(push.tag):
        raise IgnoredPush(f"a signature or an attestation: {push.tag}")
    if not re.fullmatch(tag_pattern, push.tag):
        raise IgnoredPush(f"tag {push.tag} does not match {tag_pattern}")
    if not DIGEST.match(push.digest):
        raise IgnoredPush(f"no sha256 digest: {push.digest}")
    if push.manifest_type and push.manifest_type not in MANIFESTS | INDEXES:
        raise IgnoredPush(f"not a container image: {push.manifest_type}")
    if push.manifest_type not in INDEXES and push.artifact_type and push.artifact_type not in IMAGE_CONFIGS:
        raise IgnoredPush(f"not a container image: {push.artifact_type}")
    return push
