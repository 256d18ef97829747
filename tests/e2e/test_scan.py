"""A pushed image is held, its scan's verdict decides, and an image of another platform never rolls: IAM enforced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from local import images, scans
from local.engine.registry import digest_of
from local.images import Built
from tests.e2e.stack import Stack

pytestmark = pytest.mark.e2e
IMAGE = Path(__file__).resolve().parents[2] / "inference_image"


def release_of(stack: Stack, image: str, state: str) -> Any:
    """The newest release of the image that is in this state."""
    found = [
        release for release in stack.items("release").values() if (release["image"], release["state"]) == (image, state)
    ]
    return max(found, key=lambda release: release["number"], default=None)


def push(stack: Stack, built: Built, tag: str) -> str:
    where = {"endpoint": stack.cloud.aws.endpoint, "region": stack.cloud.aws.region}
    return images.publish(built, stack.outputs["RepositoryName"], tag, **where)


def test_findings_refuse_an_image_with_their_names_and_a_clean_one_serves(stack: Stack) -> None:
    bad = scans.Scanned("v-bad", (scans.Finding("CVE-2026-1", "CRITICAL", "zlib"),))
    scans.write(stack.cloud.state, [bad])
    made = stack.rollout().get("serving")
    refused = stack.cloud.push("v-bad", "bad")
    release = stack.wait("its refusal", lambda: release_of(stack, refused, "FAILED"))
    assert release["reason"] == "The scan found 1 above HIGH: CVE-2026-1 (CRITICAL, zlib 1.0)."
    [mail] = stack.wait("the mail about it", lambda: stack.mails("refused by its scan"))
    assert "CVE-2026-1 (CRITICAL, zlib 1.0)" in mail["body"]
    assert stack.rollout().get("serving") == made

    clean = stack.cloud.push("v-clean", "clean")
    stack.wait("a clean image serves", lambda: (stack.rollout().get("serving") or {}).get("image") == clean)
    assert stack.logged("image scanned", clean)


def test_an_image_of_another_platform_is_refused_before_anything_rolls(stack: Stack) -> None:
    built = images.build(IMAGE, image_version="other")
    config = images.canonical({**json.loads(built.config), "architecture": "s390x"})
    manifest = json.loads(built.manifest)
    manifest["config"] |= {"size": len(config), "digest": digest_of(config)}
    serving = stack.rollout().get("serving")
    digest = push(stack, Built(images.canonical(manifest), config, built.layer), "v-other")
    release = stack.wait("its refusal", lambda: release_of(stack, digest, "FAILED"))
    assert release["reason"].startswith("The image is linux/s390x, and the service runs X86_64.")
    assert release["deployment"] is None and stack.rollout().get("serving") == serving
