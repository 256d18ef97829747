"""Pushes and promotions in any order, while people use the service: one rollout at a time, and no request fails."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from local.traffic import Traffic
from local.witness import Witness
from tests.e2e.stack import GOOD, Stack, as_csv, reviews
from tests.engine.conftest import Tell
from tests.images import variant

pytestmark = pytest.mark.engine
PUSHES, PROMOTIONS = 20, 5
RATE = 50  # requests a second, half of them on connections that are kept
PAUSE_SECONDS = 4.0  # at most, between two of the pushes and promotions
TEXTS = [f"a {word} film with a {word} cast" for word in GOOD]


def traffic(stack: Stack) -> Traffic:
    def connection() -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", stack.cloud.port, timeout=10)

    return Traffic(connection, stack.outputs["LoadBalancerName"], TEXTS, rate=RATE, kept=3, fresh=3)


def releases(stack: Stack) -> list[dict[str, Any]]:
    return sorted(stack.items("release").values(), key=lambda release: int(release["number"]))


def calm(stack: Stack) -> dict[str, Any] | None:
    """What serves, when nothing rolls, waits or drains any more."""
    rollout = stack.rollout()
    busy = any(rollout.get(name) for name in ("rolling", "waiting", "going_back"))
    return None if busy else rollout.get("serving")


def serving(stack: Stack, image: str, model: str | None = None) -> bool:
    now = calm(stack)
    return bool(now and now["image"] == image and (model is None or now["model"] == model))


def promoted(stack: Stack) -> list[str]:
    return [run["run_id"] for run in stack.runs("default") if run["state"] == "PROMOTED"]


def all_promoted(stack: Stack, count: int) -> None:
    stack.wait(f"promotion {count}", lambda: len(promoted(stack)) == count, 120)


def drop(stack: Stack, number: int) -> None:
    key = f"raw/reviews-{number}.csv"
    stack.drop(key, as_csv(reviews(200, seed=100 + number, labels=("negative", "positive"))))


def something_serves(stack: Stack, first: str, folder: Path) -> None:
    """An image and a model, so that every request can be answered; and nothing on its way."""
    if (stack.rollout().get("serving") or {}).get("model"):
        stack.wait("a calm service", lambda: calm(stack), 120)
        return
    digest = stack.cloud.push("v-start", "start", variant(folder / "start", first, "start"))
    drop(stack, 0)
    stack.wait("a first release with a model", lambda: serving(stack, digest) and (calm(stack) or {})["model"], 180)


def story(stack: Stack) -> dict[int, list[str]]:
    """What the ledger's history says of each release, in order."""
    told: dict[int, list[str]] = {}
    for record in Witness(stack.cloud, print, outputs=stack.outputs).history():
        kind, _, number = record["subject"].partition(" ")
        # Held until its scan: some are, some are not, and both wait.
        now = "PENDING" if record["now"] == "HELD" else record["now"]
        if kind == "release" and told.setdefault(int(number), [])[-1:] != [now]:
            told[int(number)].append(now)
    return told


def in_flight(stack: Stack) -> int:
    """The most releases that the history ever has rolling at once."""
    rolling: set[str] = set()
    most = 0
    for record in Witness(stack.cloud, print, outputs=stack.outputs).history():
        if record["subject"].startswith("release "):
            (rolling.add if record["now"] == "ROLLING" else rolling.discard)(record["subject"])
            most = max(most, len(rolling))
    return most


def test_20_pushes_and_5_promotions_in_random_order_lose_no_request(
    stack: Stack, inference: str, tmp_path: Path, figures: Tell
) -> None:
    something_serves(stack, inference, tmp_path)
    chance, wait = random.Random(20), threading.Event().wait
    steps = ["push"] * PUSHES + ["promotion"] * PROMOTIONS
    chance.shuffle(steps)
    before, models, digest, began = len(releases(stack)), len(promoted(stack)), "", time.monotonic()
    with traffic(stack) as load:
        for number, step in enumerate(steps):
            if step == "push":
                folder = variant(tmp_path / f"{number}", inference, f"{number}")
                digest = stack.cloud.push(f"v-many-{number}", f"{number}", folder)
            else:
                # One model at a time: a run that still waits would be replaced by the next.
                all_promoted(stack, models)
                models += 1
                drop(stack, models)
            wait(chance.uniform(0, PAUSE_SECONDS))
        all_promoted(stack, models)
        champion = str(stack.items("champion")["default"])
        stack.wait("the last release serves", lambda: serving(stack, digest, champion), 120)
        seen, seconds = load.sent, time.monotonic() - began
        stack.wait("requests after the last rollout", lambda: load.sent > seen + 4 * RATE, 30)
        lasted = time.monotonic() - began

    made = releases(stack)[before:]
    ended = Counter(release["state"] for release in made)
    served = [release for release in made if release["deployment"]]
    figures(
        f"{PUSHES} pushes and {PROMOTIONS} promotions in {seconds:.0f} s: "
        f"{len(made)} releases, {len(served)} rollouts; "
        f"{load.sent} requests ({load.sent / lasted:.0f} a second), {len(load.failures)} failed, "
        f"p50 {load.slowest(0.5):.0f} ms, p99 {load.slowest(0.99):.0f} ms, slowest {load.slowest(1):.0f} ms; "
        f"ends: {dict(ended)}"
    )
    assert load.failures == []
    assert load.sent > 0.8 * RATE * lasted, "the load was not what it should be"
    assert set(ended) <= {"SERVING", "RETIRED"} and ended["SERVING"] == 1
    last = stack.rollout()["serving"]
    assert (last["image"], last["model"]) == (digest, champion)
    assert stack.ask("GET", "/version").json()["digest"] == digest
    later = [release["reason"] for release in made if release["number"] > last["number"]]
    assert all("serve already" in reason for reason in later), "a newer release was left out"
    told = story(stack)
    for release in made:
        whole = ["PENDING", "ROLLING", "SERVING", "RETIRED"] if release["deployment"] else ["PENDING", "RETIRED"]
        assert told[release["number"]] == whole[: -1 if release["state"] == "SERVING" else None]
    assert in_flight(stack) == 1
