"""The emulator checks the resources and condition keys that AWS checks."""

from __future__ import annotations

import json
import re

import pytest

from local.emulator.permissions import across_lines, as_aws_acts, as_aws_names, with_keys

SERVICE = "arn:aws:ecs:eu-west-1:1:service/c/s"


def named(
    service: str, body: object = None, params: dict[str, str] | None = None, path: str = "/", target: str = ""
) -> str:
    roles = {"with-a-path": "arn:aws:iam::1:role/some/with-a-path"}
    extract = as_aws_names(lambda *_: "whatever the emulator says", roles.get)
    return extract(
        service, "POST", path, {"x-amz-target": target}, json.dumps(body or {}).encode(), params or {}, "eu-west-1", "1"
    )


@pytest.mark.parametrize(
    "body",
    [
        {"cluster": "c", "service": "s"},
        {"cluster": "c", "services": ["s"]},
        {"cluster": "c", "service": SERVICE},
        {"cluster": "arn:aws:ecs:eu-west-1:1:cluster/c", "services": ["s"]},
    ],
)
def test_a_call_about_a_service_is_checked_on_the_service(body: object) -> None:
    assert named("ecs", body) == SERVICE


def test_a_call_about_tasks_is_checked_on_the_task() -> None:
    assert named("ecs", {"cluster": "c", "tasks": ["t"]}) == "arn:aws:ecs:eu-west-1:1:task/c/t"


def test_a_revision_is_registered_in_its_family() -> None:
    body = {"family": "s-inference", "containerDefinitions": [{"name": "c"}]}
    assert named("ecs", body) == "arn:aws:ecs:eu-west-1:1:task-definition/s-inference:*"


def test_what_a_log_stream_holds_is_read_by_the_streams_name() -> None:
    asked = {"logGroupName": "/g", "logStreamName": "task/inference/t"}
    stream = "arn:aws:logs:eu-west-1:1:log-group:/g:log-stream:task/inference/t"
    assert named("logs", asked, target="Logs_20140328.GetLogEvents") == stream
    assert named("logs", asked, target="Logs_20140328.PutLogEvents") == "whatever the emulator says"


def test_a_fleet_and_a_layer_are_named() -> None:
    assert named("ec2", params={"Action": "CreateFleet"}) == "arn:aws:ec2:eu-west-1:1:fleet/*"
    assert named("lambda", params={"find": "LayerVersion", "Arn": "arn:layer:7"}) == "arn:layer:7"


def test_a_role_is_named_with_its_path_and_the_role_of_spot_also_before_it_exists() -> None:
    assert named("iam", params={"RoleName": "with-a-path"}) == "arn:aws:iam::1:role/some/with-a-path"
    of_spot = "arn:aws:iam::1:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"
    assert named("iam", params={"RoleName": "AWSServiceRoleForEC2Spot"}) == of_spot


def test_a_schedule_is_named_in_its_group() -> None:
    assert named("scheduler", {"GroupName": "g"}, path="/schedules/s") == "arn:aws:scheduler:eu-west-1:1:schedule/g/s"
    by_query = named("scheduler", params={"groupName": "g"}, path="/schedules/s")
    assert by_query == "arn:aws:scheduler:eu-west-1:1:schedule/g/s"
    assert named("scheduler", path="/schedules/s") == "arn:aws:scheduler:eu-west-1:1:schedule/default/s"


def test_what_the_emulator_knows_better_is_left_to_it() -> None:
    assert named("s3") == named("ecs", {"cluster": "c"}) == "whatever the emulator says"


def test_a_layer_version_by_arn_is_not_a_list_of_layers() -> None:
    acts = as_aws_acts(lambda *_: "lambda:ListLayers")
    assert acts("lambda", "GET", "/", {}, b"", {"find": "LayerVersion"}) == "lambda:GetLayerVersion"
    assert acts("lambda", "GET", "/", {}, b"", {}) == "lambda:ListLayers"


@pytest.mark.parametrize("cluster", ["c", "arn:aws:ecs:eu-west-1:1:cluster/c"])
def test_the_cluster_is_a_condition_key(cluster: str) -> None:
    keys = with_keys(lambda *_: {"aws:TagKeys": []}, lambda: ("eu-west-1", "1"))
    found = keys("ecs", "ecs:ListTasks", json.dumps({"cluster": cluster}).encode(), {})
    assert found == {"aws:TagKeys": [], "ecs:cluster": "arn:aws:ecs:eu-west-1:1:cluster/c"}


def test_a_star_stands_for_a_line_break_too() -> None:
    compiled = across_lines(lambda _, __: re.compile("^raw/.*$"))
    assert compiled("raw/*", False).match("raw/two\nlines.csv")
