"""Other parameters than the defaults, on the same stack: a cap that is reached, and somebody else's trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machines import states
from tests.e2e.stack import Stack, as_csv, reviews, wordy
from tests.e2e.test_spot import SLOW, another, final

pytestmark = pytest.mark.e2e
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "sklearn_trainer"
CAP = "0.0006"  # dollars: 72 seconds of the cheapest Spot machine; EC2 bills a minute at the least


def test_a_run_that_reaches_what_it_may_cost_saves_stops_and_is_told_of(stack: Stack) -> None:
    stack.drop("raw/dear/reviews.csv", as_csv(reviews(60, seed=28)))
    first = stack.wait("a run that shows how fast rows are", lambda: final(stack, "dear"))
    more = as_csv(wordy(20_000, seed=25))
    stack.cloud.deploy(parameters={"MaxRunCost": CAP})
    try:
        stack.drop("raw/dear/tidegate.yaml", (SLOW.replace("300", "9000") + "max_data_shift: 1\n").encode())
        stack.drop("raw/dear/more.csv", more)  # at once: they are one batch
        ended = stack.wait("the run to stop itself", lambda: another(stack, "dear", first["run_id"]), 120)
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
    assert card["dollars"] <= float(CAP), "the cap holds"


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
