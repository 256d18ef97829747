"""Every event reaches its function, and no other: the rules, the sample events and the handlers tell one story."""

from __future__ import annotations

import importlib
import json
import re
from typing import Any

import pytest
from moto.events.models import EventPattern

from tests.architecture.cloudformation import EVENTS, FUNCTIONS, RESOURCES, ROOT, SAMPLES, module_of

PLAIN = {"AWS::StackName": "tidegate-local", "AWS::Region": "us-east-1", "AWS::AccountId": "000000000000"}
NAMES = {  # what the sample events call the stack's resources
    "Bucket": "tidegate-local-bucket",
    "Repository": "tidegate-local/inference",
    "Repository.Arn": "arn:aws:ecr:us-east-1:000000000000:repository/tidegate-local/inference",
    "InferenceService.Name": "tidegate-local-service",
    "Cluster.Arn": "arn:aws:ecs:us-east-1:000000000000:cluster/tidegate-local-cluster",
    "InferenceService": "arn:aws:ecs:us-east-1:000000000000:service/tidegate-local-cluster/tidegate-local-service",
}
THROUGH_A_QUEUE = {"on_deployment_changed.look"}  # by no rule


def resolved(value: Any) -> Any:
    """The piece of the template as it is deployed for the sample events."""
    if isinstance(value, list):
        return [resolved(item) for item in value]
    if isinstance(value, dict):
        if "Fn::GetAtt" in value:
            return NAMES[value["Fn::GetAtt"] if isinstance(value["Fn::GetAtt"], str) else ".".join(value["Fn::GetAtt"])]
        if "Ref" in value:
            return {**PLAIN, **NAMES}[value["Ref"]]
        if "Fn::Sub" in value:
            return re.sub(r"\$\{([^}]+)\}", lambda found: {**PLAIN, **NAMES}[found[1]], value["Fn::Sub"])
        return {key: resolved(inner) for key, inner in value.items()}
    return value


def rules() -> dict[str, list[Any]]:
    """Event patterns by the function that is theirs. What comes through SQS stands in a rule of its own."""
    found: dict[str, list[Any]] = {}
    for function, properties in FUNCTIONS.items():
        for event in properties.get("Events", {}).values():
            if event["Type"] == "EventBridgeRule":
                found.setdefault(module_of(function), []).append(resolved(event["Properties"]["Pattern"]))
    found["on_data_dropped"] = [resolved(RESOURCES["DropRule"]["Properties"]["EventPattern"])]
    return found


RULES = rules()


def routed_events() -> dict[str, Any]:
    """Sample events as EventBridge sees them; a drop lies in its SQS message."""
    inner = {"on_data_dropped": json.loads(EVENTS["on_data_dropped"]["Records"][0]["body"])}
    return {name: inner.get(name, event) for name, event in SAMPLES.items()}


def matches(patterns: list[Any], event: Any) -> bool:
    return any(EventPattern(json.dumps(pattern), pattern).matches_event(event) for pattern in patterns)


def test_every_handler_is_one_function_with_one_sample_event() -> None:
    handlers = {path.stem for path in (ROOT / "functions").glob("on_*.py")}
    assert {module_of(function) for function in FUNCTIONS} == handlers == set(EVENTS)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_is_named_as_its_handler(function: str) -> None:
    assert re.sub(r"(?<!^)([A-Z])", r"_\1", function).lower() == module_of(function)
    assert FUNCTIONS[function]["Handler"].endswith(".handler")


@pytest.mark.parametrize("rule", sorted(RULES))
def test_only_its_own_events_match_its_rules(rule: str) -> None:
    own = {name for name in SAMPLES if name.partition(".")[0] == rule} - THROUGH_A_QUEUE
    assert {name for name, event in routed_events().items() if matches(RULES[rule], event)} == own


def test_every_rule_has_a_sample() -> None:
    for patterns in RULES.values():
        for pattern in patterns:
            assert any(matches([pattern], event) for event in routed_events().values()), pattern


def changed(event: Any, path: str, value: Any) -> Any:
    """A copy of the event with another value at `a.b.c`."""
    copy = json.loads(json.dumps(event))
    *parents, last = path.split(".")
    place = copy
    for parent in parents:
        place = place[parent]
    place[last] = value
    return copy


@pytest.mark.parametrize(
    ("rule", "path", "value"),
    [
        ("on_data_dropped", "detail.bucket.name", "another"),
        ("on_data_dropped", "detail.object.key", "models/a.csv"),
        ("on_data_dropped", "detail-type", "Object Deleted"),
        ("on_data_dropped", "detail.object.key", "quarantine/a.csv"),
        ("on_model_published", "detail.object.key", "models/x/model.onnx"),
        ("on_model_published", "detail.object.key", "raw/models/x/manifest.json"),
        ("on_image_pushed", "detail.result", "FAILURE"),
        ("on_image_pushed", "detail.action-type", "DELETE"),
        ("on_image_pushed", "detail.repository-name", "another"),
        ("on_image_scanned", "detail.repository-name", "another"),
        ("on_image_scanned", "detail-type", "ECR Scan Resource Change"),
        ("on_image_scanned.inspector", "detail.repository-name", "arn:aws:ecr:us-east-1:000000000000:repository/a"),
        ("on_image_scanned.inspector", "detail-type", "Inspector2 Finding"),
        ("on_alarm_changed", "detail.alarmName", "another-stack-latency-high"),
        ("on_alarm_changed", "detail-type", "CloudWatch Alarm Configuration Change"),
        ("on_deployment_changed", "resources", ["arn:aws:ecs:us-east-1:000000000000:service/another/service"]),
        ("on_deployment_changed", "detail-type", "ECS Service Action"),
        ("on_deployment_changed.crash", "detail.group", "service:another"),
        ("on_deployment_changed.crash", "detail.clusterArn", "arn:aws:ecs:us-east-1:000000000000:cluster/another"),
        ("on_deployment_changed.crash", "detail.lastStatus", "DEPROVISIONING"),
        ("on_deployment_changed.crash", "detail.stopCode", "ServiceSchedulerInitiated"),
        ("on_deployment_changed.crash", "detail.stopCode", "SpotInterruption"),
        ("on_deployment_changed.crash", "detail.stopCode", "UserInitiated"),
        ("on_machine_changed", "source", "aws.autoscaling"),
    ],
)
def test_a_rule_leaves_alone_what_is_not_ours(rule: str, path: str, value: Any) -> None:
    event, rules = routed_events()[rule], RULES[rule.partition(".")[0]]
    assert matches(rules, event)
    assert not matches(rules, changed(event, path, value))


@pytest.mark.parametrize("key", ["logs/x/1/train.log", "logs/x/1/boot.log", "raw/logs/x/1/outcome.json"])
def test_of_the_logs_only_outcomes_reach_the_function_of_machines(key: str) -> None:
    event = changed(SAMPLES["on_machine_changed.outcome"], "detail.object.key", key)
    assert not matches(RULES["on_machine_changed"], event)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_its_handler_parses_its_sample_event(name: str) -> None:
    assert importlib.import_module(name.partition(".")[0]).parse(_one(SAMPLES[name]))


def _one(event: Any) -> Any:
    """on_data_dropped parses what a message holds."""
    body = event["Records"][0]["body"] if "Records" in event else "{}"
    return json.loads(body) if "detail" in json.loads(body) else event


def test_the_sample_event_of_a_timer_is_what_the_timer_sends() -> None:
    body = json.loads(EVENTS["on_batch_settled"]["Records"][0]["body"])
    assert set(body) == {"dataset", "batch", "as_of"}
    assert set(json.loads(SAMPLES["on_batch_settled.machine"]["Records"][0]["body"])) == {"machine"}
    assert set(json.loads(SAMPLES["on_deployment_changed.look"]["Records"][0]["body"])) == {"look"}
