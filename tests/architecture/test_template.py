"""The template, the settings and the code tell one story."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
from controlplane import settings

from tests.architecture.cloudformation import FUNCTIONS, RESOURCES, ROOT, TEMPLATE, of_type, references


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
    from controlplane.domain.rollout import Rollout
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
