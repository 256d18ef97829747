"""Images and models become releases on the real template, the image first; a bad one is taken back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, as_csv, reviews

pytestmark = pytest.mark.e2e
IMAGE = Path(__file__).resolve().parents[2] / "inference_image"


@pytest.fixture
def stack(own_stack: Stack) -> Stack:
    """Nothing was pushed to it yet: the first release is number 1."""
    return own_stack


def test_a_release_serves_and_a_bad_one_is_taken_back(stack: Stack, tmp_path: Path) -> None:
    assert stack.ask("POST", "/predict", json={"text": "fine"}).status_code == 503, "the placeholder has no model"

    first = stack.cloud.push("v1", "one")
    stack.wait("release 1, an image without a model", lambda: (stack.rollout().get("serving") or {}).get("number") == 1)
    assert stack.ask("GET", "/version").json()["digest"] == first
    assert stack.ask("POST", "/predict", json={"text": "fine"}).status_code == 503

    stack.drop("raw/reviews.csv", as_csv(reviews(400, seed=5, labels=("negative", "positive"))))
    stack.wait("release 2, with the first champion", lambda: (stack.rollout().get("serving") or {}).get("number") == 2)
    answer = stack.ask("POST", "/predict", json={"text": "a warm and gripping film with a superb cast"}).json()
    assert answer["label"] == "positive" and answer["model"] == stack.items("champion")["default"]

    broken = tmp_path / "image"
    shutil.copytree(IMAGE, broken, ignore=shutil.ignore_patterns("__pycache__"))
    (broken / "serve").write_text("#!/usr/bin/env python3\nraise SystemExit('this image is broken')\n")
    stack.cloud.push("v2", "two", broken)
    taken_back = stack.wait(
        "release 3 taken back",
        lambda: [
            release for release in stack.items("release").values() if release["state"] in {"ROLLED_BACK", "FAILED"}
        ],
    )
    assert taken_back[0]["number"] == 3
    [mail] = stack.wait("the mail about it", lambda: stack.mails("release 3 "))
    assert "image and model of release 2 roll out again" in mail["body"]
    stack.wait("the mail about the way back", lambda: stack.mails("release 2 serves again"))
    assert stack.rollout()["serving"]["number"] == 2 and stack.ask("GET", "/version").json()["digest"] == first
