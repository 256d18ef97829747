"""Other parameters than the defaults, on the same stack: a cap that is reached, and somebody else's trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machines import states
from tests.e2e.stack import Stack, as_csv, reviews, wordy
from tests.e2e.test_spot import SLOW, attempt_trains, final

pytestmark = pytest.mark.e2e
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "sklearn_trainer"
CAP = "0.0009"  # dollars: more than a minute of any Spot machine, which is the least that EC2 bills; less than two


def test_a_run_that_has_used_up_what_it_may_cost_is_stopped_with_its_checkpoint_and_told_of(stack: Stack) -> None:
    stack.cloud.deploy(parameters={"MaxRunCost": CAP})
    try:
        stack.drop("raw/dear/tidegate.yaml", SLOW.encode())
        stack.drop("raw/dear/reviews.csv", as_csv(wordy(5000, seed=25)))
        run = stack.wait("the steps of the run", lambda: attempt_trains(stack, "dear", 1))
        spec = stack.read_json(f"runs/{run['run_id']}/spec.json")
        assert 0 < spec["limits"]["max_cost"] <= float(CAP) and spec["limits"]["prices"]
        stack.cloud.interrupt(run["run_id"])
        ended = stack.wait("the end of the run", lambda: final(stack, "dear"), 60)
    finally:
        stack.cloud.deploy(parameters={"MaxRunCost": "5"})  # what is not said stays as it was
    assert ended["state"] == "FAILED" and "MaxRunCost" in ended["reason"]
    [mail] = stack.wait("the mail", lambda: stack.mails(f"({ended['run_id']})"))
    assert "Raise MaxRunCost" in mail["body"]
    assert any(key.endswith("READY.json") for key in stack.keys(f"checkpoints/{ended['run_id']}/"))
    stack.wait("the end of its machines", lambda: set(states(stack, ended["run_id"])) == {"terminated"}, 60)


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
