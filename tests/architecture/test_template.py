"""The template, the handlers, the settings and the sample events tell one story."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import fields
from typing import Any

import pytest
from controlplane import settings
from moto.events.models import EventPattern

from tests.architecture.cloudformation import (
    EVENTS,
    FUNCTIONS,
    RESOURCES,
    ROOT,
    SAMPLES,
    TEMPLATE,
    module_of,
    of_type,
    references,
)

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
NO_DEAD_LETTERS = {
    "OnReconcileDue.ReconcileDue": "the next one comes in five minutes and finds the same; a failed look has OnFailure",
}


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


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_the_template_sets_exactly_the_variables_that_the_function_reads(function: str) -> None:
    wanted = {field.name.upper() for field in fields(getattr(settings, function))}
    assert set(FUNCTIONS[function]["Environment"]["Variables"]) == wanted


def test_every_settings_class_is_a_functions() -> None:
    classes = {
        name
        for name, value in vars(settings).items()
        if isinstance(value, type) and issubclass(value, settings.Settings) and not name.startswith("_")
    }
    assert classes - {"Settings"} == set(FUNCTIONS)


def test_what_serves_is_asked_anew_whenever_the_task_definition_would_change() -> None:
    """ServingRelease's properties cover everything else that the task definition depends on."""
    depends_on = references(RESOURCES["TaskDefinition"]["Properties"])
    foreign = {name for name in depends_on if not name.startswith("ServingRelease")}
    asked = RESOURCES["ServingRelease"]["Properties"]
    covered = references(asked["TaskDefinition"])
    assert foreign - {"AWS::Region", "AWS::StackName"} <= covered


def test_what_serves_is_asked_anew_whenever_the_service_would_change() -> None:
    """An update of the service sends the task definition that CloudFormation registered last."""
    depends_on = references(RESOURCES["InferenceService"]["Properties"])
    assert depends_on - {"TaskDefinition"} <= references(RESOURCES["ServingRelease"]["Properties"]["Service"])


def test_image_command_model_and_release_come_from_the_ledger_alone() -> None:
    [container] = RESOURCES["TaskDefinition"]["Properties"]["ContainerDefinitions"]
    assert references(container["Image"]) == {"ServingRelease.Image"}
    assert references(container["Command"]) == {"ServingRelease.Command"}
    from_ledger = {pair["Name"]: references(pair["Value"]) for pair in container["Environment"]}
    assert from_ledger == {
        "MODEL_URI": {"ServingRelease.ModelUri"},
        "TIDEGATE_RELEASE": {"ServingRelease.Release"},
        "TIDEGATE_IMAGE": {"ServingRelease.Image"},
    }
    assert "DesiredCount" not in RESOURCES["InferenceService"]["Properties"]


def test_the_answer_of_the_custom_resource_has_what_the_template_takes() -> None:
    from controlplane.domain.releases import Rollout
    from controlplane.domain.serving import Placeholder, serving_release

    prefix = "ServingRelease."
    taken = {name.removeprefix(prefix) for name in references(RESOURCES) if name.startswith(prefix)}
    assert taken == set(serving_release(Rollout(), Placeholder("x"), repository_uri="r", bucket="b"))


def test_the_container_is_the_one_that_the_control_plane_rolls() -> None:
    from controlplane.adapters.ecs_service import CONTAINER

    [container] = RESOURCES["TaskDefinition"]["Properties"]["ContainerDefinitions"]
    assert container["Name"] == CONTAINER
    [balanced] = RESOURCES["InferenceService"]["Properties"]["LoadBalancers"]
    assert balanced["ContainerName"] == CONTAINER


def test_the_log_streams_are_where_last_words_are_looked_for() -> None:
    from controlplane.adapters.failed_tasks import PREFIX

    [container] = RESOURCES["TaskDefinition"]["Properties"]["ContainerDefinitions"]
    assert container["LogConfiguration"]["Options"]["awslogs-stream-prefix"] == PREFIX


def test_who_waits_for_the_probe_has_more_time_than_it() -> None:
    from controlplane.parts import PROBE_SECONDS

    assert FUNCTIONS["OnProbeAsked"]["Timeout"] == PROBE_SECONDS
    waiting = [told for told in FUNCTIONS.values() if "PROBE_FUNCTION" in told["Environment"]["Variables"]]
    assert waiting and all(told["Timeout"] > PROBE_SECONDS + 20 for told in waiting)


def test_the_probe_reaches_tasks_and_may_do_nothing_else() -> None:
    probe = FUNCTIONS["OnProbeAsked"]
    assert (probe["Policies"], probe["VpcConfig"]["SecurityGroupIds"]) == ([], [{"Ref": "ProbeSecurityGroup"}])
    group = RESOURCES["ProbeSecurityGroup"]["Properties"]
    assert "SecurityGroupIngress" not in group
    assert [(rule["FromPort"], rule["ToPort"]) for rule in group["SecurityGroupEgress"]] == [(8080, 8080)]


def test_every_log_group_forgets() -> None:
    groups = of_type("AWS::Logs::LogGroup")
    assert groups
    assert [name for name, properties in groups.items() if "RetentionInDays" not in properties] == []


def test_every_function_writes_to_such_a_log_group() -> None:
    assert TEMPLATE["Globals"]["Function"]["LoggingConfig"]["LogGroup"] == {"Ref": "ControlPlaneLogs"}
    assert [name for name, properties in FUNCTIONS.items() if "LoggingConfig" in properties] == []


class TestDeadLetters:
    def test_every_rule_keeps_what_it_cannot_deliver(self) -> None:
        without = [
            f"{function}.{name}"
            for function, properties in FUNCTIONS.items()
            for name, event in properties.get("Events", {}).items()
            if event["Type"] != "SQS" and "DeadLetterConfig" not in event["Properties"]
        ]
        without += [
            name
            for name, rule in of_type("AWS::Events::Rule").items()
            if not all("DeadLetterConfig" in target for target in rule["Targets"])
        ]
        assert set(without) == set(NO_DEAD_LETTERS)

    def test_every_function_that_is_called_without_waiting_keeps_what_it_cannot_handle(self) -> None:
        called = {
            name
            for name, properties in FUNCTIONS.items()
            if any(event["Type"] != "SQS" for event in properties.get("Events", {}).values())
        }
        keeping = {
            name
            for name in called
            if "OnFailure" in FUNCTIONS[name].get("EventInvokeConfig", {}).get("DestinationConfig", {})
        }
        assert keeping == called

    def test_every_queue_that_a_function_reads_hands_over_after_some_tries(self) -> None:
        queues = of_type("AWS::SQS::Queue")
        usual = TEMPLATE["Globals"]["Function"]["Timeout"]
        read = {
            references(event["Properties"]["Queue"]).pop().removesuffix(".Arn"): properties.get("Timeout", usual)
            for properties in FUNCTIONS.values()
            for event in properties.get("Events", {}).values()
            if event["Type"] == "SQS"
        }
        assert read
        for name, timeout in read.items():
            assert queues[name]["RedrivePolicy"]["maxReceiveCount"] >= 5, name
            assert queues[name]["VisibilityTimeout"] >= 6 * timeout, name

    def test_dead_letters_are_kept_for_two_weeks_and_all_raise_the_alarm(self) -> None:
        dead = {name: queue for name, queue in of_type("AWS::SQS::Queue").items() if name.endswith("DeadLetters")}
        assert {queue["MessageRetentionPeriod"] for queue in dead.values()} == {14 * 86400}
        alarms = of_type("AWS::CloudWatch::Alarm")
        watched = {name.removesuffix(".QueueName") for alarm in alarms.values() for name in references(alarm)}
        assert set(dead) <= watched

    def test_metric_math_counts_a_metric_without_data_as_nothing(self) -> None:
        for name, alarm in of_type("AWS::CloudWatch::Alarm").items():
            metrics = alarm.get("Metrics", [])
            names = {metric["Id"] for metric in metrics if "MetricStat" in metric}
            for expression in (metric["Expression"] for metric in metrics if "Expression" in metric):
                bare = re.sub(r"FILL\(\w+, 0\)", "", expression)
                assert not names & set(re.findall(r"[a-z]+", bare)), (name, expression)

    def test_every_alarm_is_heard_and_no_other_stacks(self) -> None:
        heard = FUNCTIONS["OnAlarmChanged"]["Events"]["AlarmChanged"]["Properties"]["Pattern"]["detail"]["alarmName"]
        named = [alarm["AlarmName"] for alarm in of_type("AWS::CloudWatch::Alarm").values()]
        assert sorted(map(str, heard)) == sorted(map(str, named))


def test_every_parameter_has_a_default_and_a_sentence() -> None:
    lacking = {
        name
        for name, told in TEMPLATE["Parameters"].items()
        if "Default" not in told or not str(told.get("Description", "")).strip()
    }
    assert lacking == set()


def test_every_parameter_stands_in_one_group_of_the_console() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(TEMPLATE["Parameters"])


def test_every_number_and_choice_has_an_allowed_range() -> None:
    bounds = {"AllowedValues", "AllowedPattern", "MinValue"}
    assert [
        name for name, told in TEMPLATE["Parameters"].items() if told["Type"] == "Number" and not bounds & set(told)
    ] == []


def test_every_page_changes_a_parameter_in_the_one_way() -> None:
    """`sam deploy` without an environment deploys another stack than `make deploy ENV=…`, with other parameters."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for command in re.findall(r"^sam deploy.*$", page.read_text(), re.MULTILINE):
            assert "--config-env" in command, (page.name, command)


def test_the_words_name_every_state_of_a_release_and_of_a_run() -> None:
    from controlplane.domain.releases import ReleaseState
    from controlplane.domain.runs import RunState

    words = (ROOT / "ARCHITECTURE.md").read_text().partition("## Where")[0]
    assert [state for state in [*ReleaseState, *RunState] if state.value not in words] == []


def test_the_stack_states_only_known_conditions() -> None:
    used = {resource["Condition"] for resource in RESOURCES.values() if "Condition" in resource}
    assert used <= set(TEMPLATE["Conditions"])


def test_the_sample_event_of_a_timer_is_what_the_timer_sends() -> None:
    body = json.loads(EVENTS["on_batch_settled"]["Records"][0]["body"])
    assert set(body) == {"dataset", "batch", "as_of"}
    assert set(json.loads(SAMPLES["on_batch_settled.machine"]["Records"][0]["body"])) == {"machine"}
    assert set(json.loads(SAMPLES["on_deployment_changed.look"]["Records"][0]["body"])) == {"look"}
