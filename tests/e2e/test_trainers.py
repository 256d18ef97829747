"""Other parameters than the defaults, on the same stack: a cap that is reached, and somebody else's trainer."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machines import states, trainer_of
from tests.e2e.stack import Stack, as_csv, reviews, wordy
from tests.e2e.test_spot import SLOW, attempt_trains, final, newest_step

pytestmark = pytest.mark.e2e
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "sklearn_trainer"
CAP = "0.0006"  # dollars: more than a minute of any Spot machine, which is the least that EC2 bills
PRICE = 0.029  # dollars an hour of the cheapest Spot machine, or less


def test_a_run_that_reaches_what_it_may_cost_saves_stops_and_is_told_of(stack: Stack) -> None:
    stack.drop("raw/cheap/reviews.csv", as_csv(reviews(60, seed=28)))
    stack.wait("a run that shows how fast rows are", lambda: final(stack, "cheap"))
    stack.cloud.deploy(parameters={"MaxRunCost": CAP})
    try:
        stack.drop("raw/dear/tidegate.yaml", SLOW.encode())
        stack.drop("raw/dear/reviews.csv", as_csv(wordy(5000, seed=25)))
        run: Any = stack.wait("its steps", lambda: attempt_trains(stack, "dear", 1))
        stack.wait("its checkpoint", lambda: newest_step(stack, run) > 0)
        pid = trainer_of(stack, run["run_id"], 1)
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # a machine that is slow, however fast this one is
        spent = time.monotonic() + float(CAP) / PRICE * 3600
        stack.wait("the money to be used up", lambda: time.monotonic() > spent, 150)
        os.kill(pid, signal.SIGCONT)
        ended = stack.wait("the run to stop itself", lambda: final(stack, "dear"), 60)
    finally:
        stack.cloud.deploy(parameters={"MaxRunCost": "5"})  # what is not said stays as it was
    outcome = stack.read_json(f"logs/{ended['run_id']}/1/outcome.json")
    assert (outcome["outcome"], outcome["cause"]) == ("stopped", "cost") and outcome["step"] > 0
    assert (ended["state"], ended["attempt"]) == ("FAILED", 1) and ended["reason"].startswith(outcome["reason"])
    assert any(key.endswith("READY.json") for key in stack.keys(f"checkpoints/{ended['run_id']}/"))
    [mail] = stack.wait("the mail", lambda: stack.mails(f"({ended['run_id']})"))
    assert "MaxRunCost" in mail["body"]
    stack.wait("the end of its machines", lambda: set(states(stack, ended["run_id"])) == {"terminated"}, 60)
    card = stack.read_json(f"runs/{ended['run_id']}/card.json")
    assert 0 < card["dollars"] < 2 * float(CAP), "but for the time in which it could not look"


def test_a_trainer_of_ones_own_ends_in_a_served_model(stack: Stack) -> None:
    image = stack.cloud.push_folder(EXAMPLE, "sklearn-trainer", "v1")
    stack.cloud.push("v1-own", "one")
    stack.cloud.deploy(parameters={"TrainerImage": image, "Recipe": "sklearn", "ServedDataset": "own"})
    # The last test: nobody else trains. A dataset of its own has no champion that it must be better than.
    stack.drop("raw/own/reviews.csv", as_csv(reviews(400, seed=26, labels=("negative", "positive"))))
    served = stack.wait("the release with its model", lambda: serves_a_model_of(stack, image), 120)
    answer = stack.ask("POST", "/predict", json={"text": "a warm and gripping film with a superb cast"}).json()
    assert (answer["label"], answer["model"]) == ("positive", served)


def serves_a_model_of(stack: Stack, image: str) -> str | None:
    model: Any = (stack.rollout().get("serving") or {}).get("model")
    key = f"models/{model}/manifest.json"
    if not model or key not in stack.keys(key):
        return None
    manifest = stack.read_json(key)
    return str(model) if manifest["recipe"] == "sklearn" and image in manifest["trainer_version"] else None
