"""`sam deploy` at any moment: what serves, and how many tasks of it, does not change, and the newest release still gets
there. On a cloud of its own, for it begins with the first deploy into an empty account.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.cloud import Cloud
from local.processes import free_port
from tests.e2e.stack import Stack, as_csv, reviews

pytestmark = pytest.mark.e2e
IMAGE = Path(__file__).resolve().parents[2] / "inference_image"
ENDS = {"SERVING", "RETIRED", "ROLLED_BACK", "FAILED"}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Cloud(state=tmp_path_factory.mktemp("fresh"), port=free_port()) as cloud:
        cloud.deploy()
        yield Stack(cloud, cloud.outputs())


def service(stack: Stack) -> dict[str, Any]:
    names = {"cluster": stack.outputs["ClusterName"], "services": [stack.outputs["ServiceName"]]}
    found: dict[str, Any] = stack.cloud.client("ecs").describe_services(**names)["services"][0]
    return found


def container(stack: Stack) -> dict[str, Any]:
    """What the service's revision runs: image, model, release, CPU."""
    arn = service(stack)["taskDefinition"]
    told = stack.cloud.client("ecs").describe_task_definition(taskDefinition=arn)["taskDefinition"]
    [only] = told["containerDefinitions"]
    settings = {pair["name"]: pair["value"] for pair in only["environment"]}
    return {
        "image": only["image"],
        "model": settings["MODEL_URI"],
        "release": settings["TIDEGATE_RELEASE"],
        "cpu": told["cpu"],
    }


def steady(stack: Stack) -> bool:
    """One deployment is left and all its tasks run."""
    told = service(stack)
    [*left] = [each for each in told["deployments"] if each["rolloutState"] != "FAILED"]
    return len(left) == 1 and left[0]["rolloutState"] == "COMPLETED" and told["runningCount"] == told["desiredCount"]


def targets(stack: Stack) -> list[str]:
    group = stack.physical["TargetGroup"]
    told = stack.cloud.client("elbv2").describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    return [each["TargetHealth"]["State"] for each in told]


def serving(stack: Stack) -> Any:
    return (stack.rollout().get("serving") or {}).get("number")


def state_of(stack: Stack, number: int) -> Any:
    return next((told["state"] for told in stack.items("release").values() if told["number"] == number), None)


def broken_image(folder: Path) -> Path:
    shutil.copytree(IMAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "serve").write_text("#!/usr/bin/env python3\nraise SystemExit('this image is broken')\n")
    return folder


def test_the_first_deploy_into_an_empty_account_is_healthy_on_the_placeholder(fresh: Stack) -> None:
    stack = fresh.cloud.client("cloudformation").describe_stacks(StackName=fresh.cloud.stack)["Stacks"][0]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    fresh.wait("healthy targets", lambda: targets(fresh) == ["healthy", "healthy"] and steady(fresh))
    assert fresh.ask("GET", "/health").status_code == 200
    assert fresh.ask("POST", "/predict", json={"text": "fine"}).status_code == 503
    assert container(fresh)["release"] == "none" and fresh.rollout() == {}


def test_a_model_first_and_the_image_later_end_in_one_release_of_both(fresh: Stack) -> None:
    fresh.drop("raw/reviews.csv", as_csv(reviews(400, seed=31, labels=("negative", "positive"))))
    champion = fresh.wait("the champion", lambda: fresh.items("champion").get("default"))
    assert serving(fresh) is None and container(fresh)["release"] == "none"
    digest = fresh.cloud.push("v1", "one")
    fresh.wait("release 1", lambda: serving(fresh) == 1)
    assert fresh.rollout()["serving"]["model"] == champion
    answer = fresh.ask("POST", "/predict", json={"text": "a warm and gripping film with a superb cast"}).json()
    assert (answer["label"], answer["model"]) == ("positive", champion)
    assert fresh.ask("GET", "/version").json()["digest"] == digest


def test_a_deploy_changes_neither_image_nor_model_nor_the_number_of_tasks(fresh: Stack) -> None:
    names = {"cluster": fresh.outputs["ClusterName"], "service": fresh.outputs["ServiceName"]}
    fresh.cloud.client("ecs").update_service(**names, desiredCount=3)
    fresh.wait("three tasks", lambda: steady(fresh) and service(fresh)["runningCount"] == 3)
    before, revision = container(fresh), service(fresh)["taskDefinition"]

    fresh.cloud.deploy()
    assert service(fresh)["taskDefinition"] == revision and service(fresh)["desiredCount"] == 3

    fresh.cloud.deploy(parameters={"TaskCpu": "1024"})
    assert container(fresh) == {**before, "cpu": "1024"} and service(fresh)["desiredCount"] == 3
    fresh.wait("the new revision", lambda: steady(fresh))
    assert serving(fresh) == 1 and fresh.ask("GET", "/version").json()["release"] == "1"


@pytest.mark.parametrize(("tag", "number", "cpu"), [("v2", 2, "1024"), ("v3", 3, "512")])
def test_a_deploy_in_the_middle_of_a_rollout_ends_with_the_newest_release(
    fresh: Stack, tag: str, number: int, cpu: str
) -> None:
    """Of the template as it is, and of one that registers a revision of its own."""
    digest = fresh.cloud.push(tag)
    fresh.wait("the rollout", lambda: state_of(fresh, number) == "ROLLING")
    fresh.cloud.deploy(parameters={"TaskCpu": cpu})
    fresh.wait("the newest release", lambda: serving(fresh) == number)
    fresh.wait("a steady service", lambda: steady(fresh))
    told = container(fresh)
    assert told["image"].endswith(digest) and (told["release"], told["cpu"]) == (str(number), cpu)
    assert told["model"].endswith(f"/{fresh.items('champion')['default']}/")
    assert service(fresh)["desiredCount"] == 3 and state_of(fresh, number) == "SERVING"


def test_a_deploy_while_a_release_is_taken_back_leaves_the_last_good_one(fresh: Stack, tmp_path: Path) -> None:
    before = container(fresh)
    fresh.cloud.push("v4", "four", broken_image(tmp_path / "image"))
    fresh.wait("what ECS says of it", lambda: any(d["rolloutState"] == "FAILED" for d in service(fresh)["deployments"]))
    fresh.cloud.deploy(parameters={"TaskCpu": "1024"})
    fresh.wait("its end", lambda: state_of(fresh, 4) in {"ROLLED_BACK", "FAILED"})
    fresh.wait("a steady service", lambda: steady(fresh) and not fresh.rollout().get("going_back"))
    assert container(fresh) == {**before, "cpu": "1024"}
    assert serving(fresh) == 3 and service(fresh)["desiredCount"] == 3
    assert fresh.ask("GET", "/version").json()["release"] == "3"


def test_every_release_has_an_end_and_nothing_was_refused(fresh: Stack) -> None:
    assert {release["state"] for release in fresh.items("release").values()} <= ENDS
    assert fresh.denied() == []
