"""A pushed image is held, its scan's verdict or a person decides, and one of another platform never rolls."""

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


def serves(stack: Stack, image: str) -> bool:
    return (stack.rollout().get("serving") or {}).get("image") == image


def test_findings_refuse_an_image_a_person_lets_it_go_and_rolls_back(stack: Stack) -> None:
    denied = stack.denied()
    clean = stack.cloud.push("v-clean", "clean")
    stack.wait("a clean image serves", lambda: serves(stack, clean))
    assert stack.logged("image scanned", clean)

    finding = scans.Finding("CVE-2026-1", "CRITICAL", "zlib")
    scans.write(stack.cloud.state, [scans.Scanned("v-bad", (finding,))])
    bad = stack.cloud.push("v-bad", "bad")
    release = stack.wait("its refusal", lambda: release_of(stack, bad, "FAILED"))
    assert release["reason"] == "The scan found 1 above HIGH: CVE-2026-1 (CRITICAL, zlib 1.0)."
    [mail] = stack.wait("the mail about it", lambda: stack.mails("refused by its scan"))
    assert "CVE-2026-1 (CRITICAL, zlib 1.0)" in mail["body"]
    assert serves(stack, clean)

    number = str(release["number"])
    assert "Would do: " in stack.decide("release-held", "--release", number, "--dry-run")
    assert release_of(stack, bad, "FAILED")["number"] == release["number"] and serves(stack, clean)
    assert "Done: " in stack.decide("release-held", "--release", number)
    stack.wait("the image that a person let go serves", lambda: serves(stack, bad))
    assert stack.ask("GET", "/version").json()["digest"] == bad
    [mail] = stack.wait("the mail about it", lambda: stack.mails("a person let a release go"))
    assert "Why: e2e" in mail["body"] and "arn:aws" in mail["body"]

    assert "Done: goes back from release " in stack.decide("rollback")
    stack.wait("the clean image serves again", lambda: serves(stack, clean))
    stack.wait("it answers", lambda: stack.ask("GET", "/version").json()["digest"] == clean)
    assert stack.wait("the mail about it", lambda: stack.mails("a person rolled back"))
    answer = json.loads(stack.invoke("OnPersonDecided", {"action": "roll_back"})["Payload"])
    assert answer["done"] is False and "why must say why" in answer["said"]
    assert stack.denied() == denied, "beside what another test had refused on purpose"


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
