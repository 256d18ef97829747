"""Spot, on the real template: machines taken back, none to be had, events ten times over, no control plane at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.machines import kill, states, trainer_of
from tests.e2e.stack import Stack, as_csv, reviews, wordy

pytestmark = pytest.mark.e2e
# Two weak penalties, each to its very end in small steps, and a checkpoint a second: a fit that lasts, to interrupt.
SLOW = "knobs: {ngrams: 2, l2: [0.001, 0.0001], tolerance: 0, passes: 300, steps_per_pass: 2, save_every_s: 1}\n"


def the_run(stack: Stack, dataset: str) -> Any:
    runs = stack.runs(dataset)
    return runs[0] if runs else None


def attempt_trains(stack: Stack, dataset: str, attempt: int, *, saved: bool = False) -> Any:
    """The run, when this attempt is at its steps (and has saved a checkpoint of its own)."""
    run = the_run(stack, dataset)
    if not run or run["attempt"] != attempt:
        return None
    key = f"logs/{run['run_id']}/{attempt}/progress.json"
    progress = stack.read_json(key) if key in stack.keys(key) else {}
    if progress.get("phase") != "training" or progress.get("unit") != "steps":
        return None
    return run if not saved or newest_step(stack, run) > step_of_the_word(stack, run, attempt - 1) else None


def newest_step(stack: Stack, run: Any) -> int:
    """Of the complete checkpoints."""
    keys = stack.keys(f"checkpoints/{run['run_id']}/")
    return max((int(key.split("/")[2]) for key in keys if key.endswith("READY.json")), default=0)


def step_of_the_word(stack: Stack, run: Any, attempt: int) -> int:
    return int(stack.read_json(f"logs/{run['run_id']}/{attempt}/outcome.json")["step"])


def test_a_run_that_is_interrupted_three_times_ends_in_the_same_weights_and_leaves_nothing_behind(stack: Stack) -> None:
    stack.drop("raw/stormy/tidegate.yaml", SLOW.encode())
    stack.drop("raw/stormy/reviews.csv", as_csv(wordy(5000, seed=21)))

    run = stack.wait("the first attempt's steps", lambda: attempt_trains(stack, "stormy", 1))
    run_id = run["run_id"]
    noticed = stack.cloud.interrupt(run_id)
    run = stack.wait("the second attempt's checkpoint", lambda: attempt_trains(stack, "stormy", 2, saved=True), 60)
    assert run["machine"] != noticed
    first = stack.read_json(f"logs/{run_id}/1/outcome.json")
    assert (first["outcome"], first["cause"]) == ("interrupted", "spot") and first["step"] > 0

    pid = trainer_of(stack, run_id, 2)
    assert pid is not None
    kill(pid)  # without a word
    third = stack.wait("the third machine", lambda: new_machine(stack, run_id, 3), 60)
    stack.cloud.interrupt(third)  # it is booting
    run = stack.wait("the end of the run", lambda: final(stack, "stormy"), 120)

    assert run["attempt"] == 4 and run["state"] != "FAILED", run["reason"]
    assert f"logs/{run_id}/2/outcome.json" not in stack.keys(f"logs/{run_id}/2/")
    assert stack.read_json(f"logs/{run_id}/3/outcome.json")["cause"] == "spot"
    manifest = stack.read_json(f"models/{run_id}/manifest.json")
    assert manifest["attempt"] == 4 and manifest["resumed"] >= first["step"] > 0
    stack.wait("the end of all its machines", lambda: set(states(stack, run_id)) <= {"terminated"}, 60)
    card = stack.read_json(f"runs/{run_id}/card.json")
    assert len({attempt["machine"] for attempt in card["attempts"]}) == 4

    # The same rows in calm weather. Another cadence is another snapshot and so another run, of the same weights.
    stack.drop("raw/stormy/tidegate.yaml", SLOW.replace("save_every_s: 1", "save_every_s: 30").encode())
    calm = stack.wait("the run that nothing happens to", lambda: another(stack, "stormy", run_id), 120)
    other = stack.read_json(f"models/{calm['run_id']}/manifest.json")
    assert calm["attempt"] == 1 and other["resumed"] is None
    for name in ("model.pt", "model.onnx"):
        assert manifest["files"][name]["sha256"] == other["files"][name]["sha256"], name
    assert len(stack.mails(f"({run_id})")) == 1


def new_machine(stack: Stack, run_id: str, attempt: int) -> str | None:
    wanted = [
        {"Name": "tag:tidegate:run", "Values": [run_id]},
        {"Name": "tag:tidegate:attempt", "Values": [str(attempt)]},
    ]
    found = stack.cloud.client("ec2").describe_instances(Filters=wanted)["Reservations"]
    return str(found[0]["Instances"][0]["InstanceId"]) if found else None


def another(stack: Stack, dataset: str, run_id: str) -> Any:
    """A finished run of the dataset that is not this one."""
    over = {"PROMOTED", "REJECTED", "FAILED"}
    return next((run for run in stack.runs(dataset) if run["run_id"] != run_id and run["state"] in over), None)


def final(stack: Stack, dataset: str) -> Any:
    run = the_run(stack, dataset)
    return run if run and run["state"] in {"PROMOTED", "REJECTED", "FAILED"} else None


def test_where_spot_has_no_machine_in_any_pool_the_run_goes_on_demand(stack: Stack) -> None:
    stack.cloud.refuse("spot:*:*:InsufficientInstanceCapacity")
    try:
        stack.drop("raw/scarce/reviews.csv", as_csv(reviews(120, seed=22)))
        run = stack.wait("the end of the run", lambda: final(stack, "scarce"), 120)
    finally:
        stack.cloud.refuse()
    assert run["state"] == "PROMOTED", run["reason"]
    manifest = stack.read_json(f"models/{run['run_id']}/manifest.json")
    assert manifest["machine"]["lifecycle"] == "on-demand"
    assert len(states(stack, run["run_id"])) == 1, "a refusal makes no machine"
    assert stack.wait("the mail that it waits", lambda: stack.mails("InsufficientInstanceCapacity"))


def test_a_fault_of_the_configuration_fails_the_run_at_once_and_says_what_to_do(stack: Stack) -> None:
    stack.cloud.refuse("*:*:*:InvalidLaunchTemplateId.NotFound")
    try:
        stack.drop("raw/misconfigured/reviews.csv", as_csv(reviews(60, seed=27)))
        run = stack.wait("the end of the run", lambda: final(stack, "misconfigured"), 60)
    finally:
        stack.cloud.refuse()
    assert run["state"] == "FAILED" and not states(stack, run["run_id"])
    assert stack.wait("the mail", lambda: stack.mails(run["run_id"]))


def test_thirty_drops_within_ten_seconds_make_one_run_on_one_machine(stack: Stack) -> None:
    def accepted() -> int:
        return len(stack.items("drops many"))

    for number in range(30):
        stack.drop(f"raw/many/{number}.csv", as_csv(reviews(40, seed=100 + number)))
        stack.wait("the drops before", lambda: accepted() >= number - 5, 10)  # noqa: B023
    run = stack.wait("the end of the run", lambda: final(stack, "many"), 120)
    assert [each["run_id"] for each in stack.runs("many")] == [run["run_id"]]
    assert stack.read_json(f"models/{run['run_id']}/manifest.json")["rows"]["accepted"] == 30 * 40
    assert len(states(stack, run["run_id"])) == 1


def test_the_same_launch_event_delivered_ten_times_at_once_gives_one_machine(stack: Stack) -> None:
    stack.drop("raw/tenfold/reviews.csv", as_csv(reviews(60, seed=23)))
    batch: Any = stack.wait("the batch", lambda: stack.items("batch").get("tenfold"))
    name = f"{batch['dataset']}@{batch['opened_at']}"
    ring = {"dataset": "tenfold", "batch": name, "as_of": batch["last_drop_at"]}
    event = {"Records": [{"messageId": "1", "body": json.dumps(ring)}]}

    def deliver() -> None:
        """Until there is a machine, and once more."""
        launched = False
        while not launched:
            launched = bool((the_run(stack, "tenfold") or {}).get("machine"))
            stack.invoke("OnBatchSettled", event)

    at_once(deliver, 10)
    run = stack.wait("the end of the run", lambda: final(stack, "tenfold"))
    assert [each["run_id"] for each in stack.runs("tenfold")] == [run["run_id"]]
    assert (run["state"], run["attempt"]) == ("PROMOTED", 1), run["reason"]
    assert len(states(stack, run["run_id"])) == 1


def at_once(does: Callable[[], None], times: int) -> None:
    threads = [threading.Thread(target=does) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_machine_ends_by_itself_when_the_control_plane_is_gone_and_its_model_is_found_later(stack: Stack) -> None:
    stack.drop("raw/alone/reviews.csv", as_csv(reviews(120, seed=24)))
    run_id = stack.wait(
        "the run's machine",
        lambda: [
            run["run_id"] for run in stack.runs("alone") if run["state"] in {"LAUNCHING", "TRAINING"} and run["machine"]
        ],
    )[0]
    with without_functions(stack):
        stack.wait("the machine's end", lambda: states(stack, run_id) == ["terminated"], 60)
        assert f"models/{run_id}/manifest.json" in stack.keys(f"models/{run_id}/")
        assert stack.items("run")[run_id]["state"] in {"LAUNCHING", "TRAINING"}, "nobody could write anything down"

    def found() -> bool:
        """Events that were held up meanwhile may write at the same time; then the next look finds it."""
        stack.invoke("OnReconcileDue", {})
        return bool(stack.items("run")[run_id]["state"] == "PROMOTED")

    stack.wait("the model to be found", found)


@contextmanager
def without_functions(stack: Stack) -> Iterator[None]:
    """No function of the control plane runs: what calls them is throttled."""
    client = stack.cloud.client("lambda")
    names = [known["FunctionName"] for known in client.list_functions()["Functions"]]
    for name in names:
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        yield
    finally:
        for name in names:
            client.delete_function_concurrency(FunctionName=name)
