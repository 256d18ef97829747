"""What must not serve is taken back by itself, on the real template; and the mail says why, truly."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import images
from tests.e2e.stack import Stack, as_csv, reviews

pytestmark = pytest.mark.e2e
FELL = {"FAILED", "ROLLED_BACK"}


def calm(stack: Stack) -> dict[str, Any] | None:
    """What serves, when nothing is on its way."""
    rollout = stack.rollout()
    busy = any(rollout.get(name) for name in ("rolling", "waiting", "going_back"))
    found: dict[str, Any] | None = None if busy else rollout.get("serving")
    return found


def good_release(stack: Stack) -> dict[str, Any]:
    """An image with a model serves."""
    if not (calm(stack) or {}).get("model"):
        stack.cloud.push("v-good", "good")
        stack.drop("raw/good.csv", as_csv(reviews(400, seed=5, labels=("negative", "positive"))))
        stack.wait("a release with a model", lambda: (calm(stack) or {}).get("model"))
    return stack.wait("a calm service", lambda: calm(stack)) or {}


def falls(stack: Stack, digest: str) -> dict[str, Any]:
    def fallen() -> list[dict[str, Any]]:
        known = stack.items("release").values()
        return [release for release in known if release["image"] == digest and release["state"] in FELL]

    [release] = stack.wait("the release to fall", fallen)
    return release


def mail_about(stack: Stack, bad: dict[str, Any], good: dict[str, Any]) -> str:
    """The mail of the fall, when the good release serves alone again."""
    stack.wait("the good release", lambda: (calm(stack) or {}).get("number") == good["number"])
    stack.wait("its answer", lambda: stack.ask("GET", "/version").json()["digest"] == good["image"])
    [mail] = stack.wait("the mail", lambda: stack.mails(f"release {bad['number']} {bad['state'].lower()[:6]}"))
    body = str(mail["body"])
    assert f"image and model of release {good['number']} roll out again" in body
    stack.wait("the mail of its return", lambda: stack.mails(f"release {good['number']} serves again"))
    return body


def test_other_labels_than_the_trainers_are_taken_back(stack: Stack, tmp_path: Path) -> None:
    good = good_release(stack)
    folder = images.with_serve(tmp_path / "other", images.good_serve(images.OTHER_LABELS))
    bad = falls(stack, stack.cloud.push("v-other-labels", "other", folder))
    body = mail_about(stack, bad, good)
    assert "the smoke test: golden set: " in body and "rows got another label" in body
    assert "The last " in body and " lines of its log:" in body, body
    word = stack.ask("POST", "/predict", json={"text": "a warm and gripping film with a superb cast"}).json()["label"]
    assert word == "positive"


def test_a_crash_at_start_is_told_with_exit_code_and_last_words(stack: Stack, tmp_path: Path) -> None:
    good = good_release(stack)
    bad = falls(stack, stack.cloud.push("v-crash", "crash", images.with_serve(tmp_path / "crash", images.CRASHES)))
    body = mail_about(stack, bad, good)
    assert "ECS's circuit breaker: " in body
    assert "EssentialContainerExited, Essential container in task exited, exit code 1" in body
    assert "  | looking for the vocabulary" in body and "  | the vocabulary is missing" in body


def test_tasks_that_crash_after_ten_seconds_are_taken_back_without_an_alarm(stack: Stack, tmp_path: Path) -> None:
    """They may well serve by then: two crashes while it rolls or bakes are enough."""
    good = good_release(stack)
    program = images.good_serve(images.LATER.format(seconds=10))
    digest = stack.cloud.push("v-later", "later", images.with_serve(tmp_path / "later", program))

    def taken_back() -> bool:
        known = stack.items("release").values()
        bad = next((one for one in known if one["image"] == digest), None)
        return bad is not None and (bad["state"] in FELL or any(one["takes_back"] == bad["number"] for one in known))

    stack.wait("its end", taken_back)
    back = stack.wait("a calm service", lambda: calm(stack)) or {}
    assert (back["image"], back["model"]) == (good["image"], good["model"])
    stack.wait("its answer", lambda: stack.ask("GET", "/version").json()["digest"] == good["image"])
    [mail] = stack.wait("the mail", lambda: stack.mails("were up and ended by themselves"))
    assert "exit code 7" in mail["body"] and "  | the cache is full" in mail["body"]
    assert stack.logged("EssentialContainerExited arn:"), "the event came"
    assert not stack.mails("errors-high")


def test_what_never_answers_its_health_check_is_told_so(stack: Stack, tmp_path: Path) -> None:
    good = good_release(stack)
    bad = falls(stack, stack.cloud.push("v-mute", "mute", images.with_serve(tmp_path / "mute", images.NEVER_HEALTHY)))
    body = mail_about(stack, bad, good)
    assert "Task failed ELB health checks" in body and "  | waiting for a model" in body


def slow_one_rolls(stack: Stack, tmp_path: Path, name: str) -> str:
    """An image whose tasks take 12 s to start, while its first deployment runs; its digest."""
    slow = images.good_serve("import time\ntime.sleep(12)\n")
    digest = stack.cloud.push(f"v-{name}", name, images.with_serve(tmp_path / name, slow))
    stack.wait("the slow one to roll", lambda: (stack.rollout().get("rolling") or {}).get("deployment"))
    return digest


def test_what_rolls_is_taken_back_at_once_by_a_person(stack: Stack, tmp_path: Path) -> None:
    good, denied = good_release(stack), stack.denied()
    digest = slow_one_rolls(stack, tmp_path, "unwanted")
    said = stack.decide("rollback", why="It is the wrong one")
    bad = falls(stack, digest)
    assert said.startswith(f"Done: takes release {bad['number']}, which rolls, back at once"), bad["reason"]
    assert f"of release {good['number']} go out again" in said
    assert "Already " in stack.decide("rollback", why="another person saw it too")
    body = mail_about(stack, bad, good)
    assert "Why: a person: arn:aws" in body and ": It is the wrong one" in body
    assert (calm(stack) or {}).get("number") == good["number"], "nothing else was proposed"
    assert stack.denied() == denied


def test_what_is_not_done_at_its_deadline_is_taken_back(stack: Stack, tmp_path: Path) -> None:
    """Time is made to pass in the ledger: the release began longer ago than it may take."""
    good = good_release(stack)
    digest = slow_one_rolls(stack, tmp_path, "slow")
    began_long_ago(stack)
    body = mail_about(stack, falls(stack, digest), good)
    assert "the deadline: It was not done after 30 minutes" in body


def began_long_ago(stack: Stack) -> None:
    table, key = stack.outputs["LedgerTableName"], {"kind": {"S": "rollout"}, "id": {"S": "service"}}
    dynamodb = stack.cloud.client("dynamodb")

    def written() -> bool:
        item = dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
        told = json.loads(item["doc"]["S"])
        told["rolling"]["since"] = (datetime.fromisoformat(told["rolling"]["since"]) - timedelta(hours=1)).isoformat()
        try:
            dynamodb.put_item(
                TableName=table,
                Item={**item, "doc": {"S": json.dumps(told)}},
                ConditionExpression="version = :version",
                ExpressionAttributeValues={":version": item["version"]},
            )
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    stack.wait("the ledger to be mine for a moment", written)
