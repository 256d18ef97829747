"""What must not serve does not: it is taken back by itself, told of truly, and who uses the service notices nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.engine.registry import Registry, connect
from tests import images
from tests.e2e.stack import Stack
from tests.engine.conftest import Tell
from tests.engine.test_rollouts import calm, releases, serving, something_serves, traffic
from tests.images import good_serve, variant

pytestmark = pytest.mark.engine
FELL = {"FAILED", "ROLLED_BACK"}
Push = Callable[[Stack, str, Path], str]


def served_by(program: str) -> Push:
    """Push an image with another `serve`."""

    def push(stack: Stack, first: str, folder: Path) -> str:
        tag = f"v-{folder.name}"
        return stack.cloud.push(tag, tag, images.variant_with_serve(folder, first, tag, program))

    return push


def of_an_apple_laptop(stack: Stack, first: str, folder: Path) -> str:
    """As `docker build` and `docker push` make it there."""
    stack.cloud.push("good-machine", "good", variant(folder, first, "good"))
    return images.for_arm(registry(stack), stack.outputs["RepositoryName"], "v-arm", "good-machine")


def by_buildx_of_an_apple_laptop(stack: Stack, first: str, folder: Path) -> str:
    """As `docker buildx build --push` makes it there: an index of that one platform."""
    stack.cloud.push("good-for-arm", "good", variant(folder, first, "good-for-arm"))
    repository = stack.outputs["RepositoryName"]
    image = images.for_arm(registry(stack), repository, "arm-alone", "good-for-arm")
    index, _ = images.with_attestation(registry(stack), repository, "v-arm-index", image)
    return index


def registry(stack: Stack) -> Registry:
    with stack.cloud.aws.ambient():
        return connect()


BAD: dict[str, tuple[Push, list[str]]] = {
    "crash-at-start": (served_by(images.CRASHES), ["ROLLED_BACK", "exit code 1", "the vocabulary is missing"]),
    "other-labels": (served_by(good_serve(images.OTHER_LABELS)), ["golden set"]),
    "never-healthy": (served_by(images.NEVER_HEALTHY), ["ROLLED_BACK", "Task failed ELB health checks"]),
    "never-ready": (
        served_by(good_serve(images.NEVER_READY)),
        ["the smoke test: It takes requests, but GET /ready answered 503: The cache is cold.", "  | the cache is cold"],
    ),
    "other-platform": (of_an_apple_laptop, ["was not rolled out", "linux/arm64/v8"]),
    "other-platform-by-buildx": (by_buildx_of_an_apple_laptop, ["was not rolled out", "linux/arm64/v8"]),
}
TAKES_REQUESTS = {"other-labels", "never-ready"}  # healthy to the load balancer: only who asks the tasks sees the fault


@pytest.mark.parametrize("kind", BAD)
def test_it_is_taken_back_and_told_of_while_people_use_the_service(
    kind: str, stack: Stack, inference: str, tmp_path: Path, figures: Tell
) -> None:
    something_serves(stack, inference, tmp_path)
    push, words = BAD[kind]
    falls(stack, kind, lambda: push(stack, inference, tmp_path / kind), words, figures)


def test_a_model_whose_file_was_changed_is_not_served(
    stack: Stack, inference: str, tmp_path: Path, figures: Tell
) -> None:
    something_serves(stack, inference, tmp_path)
    good = calm(stack)
    assert good
    s3, place = stack.cloud.client("s3"), {"Bucket": stack.bucket, "Key": f"models/{good['model']}/model.onnx"}
    content = s3.get_object(**place)["Body"].read()
    s3.put_object(**place, Body=content[:-1] + bytes([content[-1] ^ 1]))
    try:
        folder = variant(tmp_path / "sound", inference, "sound")
        falls(stack, "wrong-sha256", lambda: stack.cloud.push("v-sound", "sound", folder), ["sha256"], figures)
    finally:
        s3.put_object(**place, Body=content)


def test_tasks_that_crash_after_ten_seconds_are_taken_back(
    stack: Stack, inference: str, tmp_path: Path, figures: Tell
) -> None:
    """They may well serve until then, and ECS only starts them again. No alarm is set here: they are taken back for it.

    Requests fail on tasks that crash, and on no other: none before a task crashed, none after the good ones are back.
    """
    something_serves(stack, inference, tmp_path)
    good: Any = stack.wait("a calm service", lambda: calm(stack))
    program = good_serve(images.LATER.format(seconds=10))
    looks: list[tuple[float, int]] = []
    with traffic(stack) as load:
        digest = stack.cloud.push(
            "v-later", "later", images.variant_with_serve(tmp_path / "later", inference, "l", program)
        )
        began = time.monotonic()

        def crashed() -> int:
            looks.append((time.monotonic(), len(load.failures)))
            return crashes(stack)

        stack.wait("a crash", crashed, 120)
        first = time.monotonic()
        stack.wait("the good image alone", lambda: serving(stack, good["image"], good["model"]) and alone(stack), 180)
        back, failed, seen = time.monotonic() - first, len(load.failures), load.sent
        stack.wait("requests after it", lambda: load.sent > seen + 100, 30)
    bad = next(one for one in releases(stack) if one["image"] == digest)
    [mail] = stack.wait("the mail", lambda: mails_of_crashes(stack, bad["number"]))
    # ECS hears of a crash a moment after it happened.
    of_good_tasks = max(count for at, count in looks if at < first - 1)
    figures(f"{bad['state']}; the first crash {first - began:.0f} s after the push, the good image alone {back:.0f} s "
            f"later; {load.sent} requests, {failed} failed, all between the two; {crashes(stack)} tasks crashed; "
            f"{load.by_release[str(bad['number'])]} answered by it; {mail['subject']}")  # fmt: skip
    assert of_good_tasks == 0 and len(load.failures) == failed
    assert "exit code 7" in mail["body"] and "  | the cache is full" in mail["body"], mail["body"]
    assert stack.ask("GET", "/version").json()["digest"] == good["image"]


def crashes(stack: Stack) -> int:
    """Tasks that ended with the exit code of that program."""
    ecs, names = stack.cloud.client("ecs"), {"cluster": stack.outputs["ClusterName"]}
    arns = ecs.list_tasks(**names, serviceName=stack.outputs["ServiceName"], desiredStatus="STOPPED")["taskArns"]
    told = ecs.describe_tasks(**names, tasks=arns)["tasks"] if arns else []
    return sum(any(container.get("exitCode") == 7 for container in task["containers"]) for task in told)


def mails_of_crashes(stack: Stack, number: int) -> list[dict[str, Any]]:
    words = "were up and ended by themselves"
    return [mail for mail in stack.mails(f"asks of release {number} ") if words in mail["body"]]


def falls(stack: Stack, kind: str, push: Callable[[], str], words: list[str], figures: Tell) -> None:
    """The pushed image falls under load, no request fails, and the mail says what happened and what serves."""
    good: Any = stack.wait("a calm service", lambda: calm(stack))
    known = len(releases(stack))
    with traffic(stack) as load:
        digest = push()
        began = time.monotonic()
        [bad] = stack.wait(f"the fall of {kind}", lambda: fallen(stack, digest), 180)
        fell = time.monotonic() - began
        stack.wait("the good release alone", lambda: serving(stack, good["image"], good["model"]) and alone(stack), 120)
        back, seen = time.monotonic() - began, load.sent
        stack.wait("requests after it", lambda: load.sent > seen + 50, 30)
    [mail] = stack.wait("the mail", lambda: stack.mails(f"release {bad['number']} "))
    figures(f"fell after {fell:.0f} s, the good one alone after {back:.0f} s; {load.sent} requests, "
            f"{len(load.failures)} failed; {mail['subject']}: {bad['reason'][:160]}")  # fmt: skip
    assert load.failures == []
    if kind not in TAKES_REQUESTS:
        assert set(load.by_release) <= {str(good["number"])}, "a bad task answered"
    assert len(releases(stack)) == known + 1, "it was tried again"
    assert (
        f"Release {good['number']} serves" in mail["body"]
        or f"of release {good['number']} roll out again" in mail["body"]
    )
    assert all(word in mail["body"] for word in words), mail["body"]
    assert stack.ask("GET", "/version").json()["digest"] == good["image"]


def fallen(stack: Stack, digest: str) -> list[dict[str, Any]]:
    return [release for release in releases(stack) if release["image"] == digest and release["state"] in FELL]


def alone(stack: Stack) -> bool:
    """All tasks of the service's own deployment run, and no other."""
    told = stack.cloud.client("ecs").describe_services(
        cluster=stack.outputs["ClusterName"], services=[stack.outputs["ServiceName"]]
    )["services"][0]
    running = {one["status"]: one["runningCount"] for one in told["deployments"] if one["runningCount"]}
    return bool(running == {"PRIMARY": told["desiredCount"]})


def test_an_index_with_an_attestation_rolls_out_as_the_image_in_it(
    stack: Stack, inference: str, tmp_path: Path, figures: Tell
) -> None:
    something_serves(stack, inference, tmp_path)
    repository = stack.outputs["RepositoryName"]
    stack.cloud.push("of-an-index", "index", variant(tmp_path / "index", inference, "index"))
    with traffic(stack) as load:
        index, image = images.with_attestation(registry(stack), repository, "v-index", "of-an-index")
        began = time.monotonic()
        stack.wait("the image of the index serves", lambda: serving(stack, image), 120)
        took = time.monotonic() - began
    figures(f"served after {took:.0f} s; {load.sent} requests, {len(load.failures)} failed")
    assert load.failures == []
    assert index != image and stack.ask("GET", "/version").json()["digest"] == image
    assert json.dumps(index) not in json.dumps(stack.items("release")), "a release names what cannot run"
