"""An image pushed to ECR: named by its digest, never by its tag. Most pushes are not deployable, and say why."""

from __future__ import annotations

import re
from dataclasses import dataclass

SIGNATURE_TAG = re.compile(r"^sha256-[0-9a-f]{64}(\.(sig|att|sbom))?$")
DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")


class IgnoredPush(Exception):
    """The push is not for the service; the message says why."""


@dataclass(frozen=True)
class Push:
    """One ECR Image Action; `tag` is "" when untagged."""

    repository: str
    digest: str
    tag: str


def deployable(push: Push, *, repository: str, tag_pattern: str) -> Push:
    """The push itself, when it is for the service. Raises IgnoredPush."""
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
    return push
