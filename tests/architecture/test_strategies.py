"""What the template makes of each DeploymentStrategy, its conditions rendered as CloudFormation does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.architecture.cloudformation import RESOURCES, TEMPLATE, references

SHIFTING = ["CANARY", "LINEAR", "BLUE_GREEN"]
GONE: Any = object()


def holds(condition: Any, given: dict[str, str]) -> bool:
    [(word, told)] = condition.items()
    if word == "Condition":
        return holds(TEMPLATE["Conditions"][told], given)
    if word == "Fn::Not":
        return not holds(told[0], given)
    if word == "Fn::Or":
        return any(holds(each, given) for each in told)
    assert word == "Fn::Equals", condition
    return len({given.get(each["Ref"], "") if isinstance(each, dict) else each for each in told}) == 1


def rendered(value: Any, true: dict[str, bool]) -> Any:
    if isinstance(value, list):
        return [kept for each in value if (kept := rendered(each, true)) is not GONE]
    if isinstance(value, dict):
        if value == {"Ref": "AWS::NoValue"}:
            return GONE
        if "Fn::If" in value:
            name, yes, no = value["Fn::If"]
            return rendered(yes if true[name] else no, true)
        return {key: kept for key, each in value.items() if (kept := rendered(each, true)) is not GONE}
    return value


def stack(strategy: str, second_group: str = "false") -> dict[str, Any]:
    given = {name: str(told["Default"]) for name, told in TEMPLATE["Parameters"].items()}
    given |= {"DeploymentStrategy": strategy, "SecondTargetGroup": second_group}
    true = {name: holds(told, given) for name, told in TEMPLATE["Conditions"].items()}
    there = {name: told for name, told in RESOURCES.items() if true.get(told.get("Condition", ""), True)}
    return {name: rendered(told.get("Properties", {}), true) for name, told in there.items()}


def test_rolling_is_the_default_and_has_one_group_one_listener_and_the_circuit_breaker() -> None:
    assert TEMPLATE["Parameters"]["DeploymentStrategy"]["Default"] == "ROLLING"
    rolling = stack("ROLLING")
    service = rolling["InferenceService"]
    assert service["DeploymentConfiguration"] == {
        "MinimumHealthyPercent": 100,
        "MaximumPercent": 200,
        "Strategy": {"Ref": "DeploymentStrategy"},
        "DeploymentCircuitBreaker": {"Enable": True, "Rollback": True},
    }
    assert service["LoadBalancers"] == [
        {"ContainerName": "inference", "ContainerPort": 8080, "TargetGroupArn": {"Ref": "TargetGroup"}}
    ]
    more = {
        "ShiftErrorsAlarm",
        "OtherTargetGroup",
        "ProductionRule",
        "TestListener",
        "TestRule",
        "TestIngress",
        "ShiftRole",
        "HookRole",
    }
    assert not more & set(rolling)
    assert "ScaleOnRequests" in rolling


NO_ALARMS_NO_HOOKS = {"Alarms": {"AlarmNames": [], "Enable": False, "Rollback": False}, "LifecycleHooks": []}


def test_rolling_with_a_second_group_keeps_the_balancer_as_the_other_strategies_have_it() -> None:
    """What ECS documents for leaving them: the load balancer's configuration stays, only how it deploys changes.

    docs.aws.amazon.com/AmazonECS/latest/developerguide/update-bluegreen-to-rolling.html
    """
    rolling, shifting = stack("ROLLING", "true"), stack("CANARY")
    assert rolling["InferenceService"]["LoadBalancers"] == shifting["InferenceService"]["LoadBalancers"]
    for name in ("OtherTargetGroup", "ProductionRule", "TestListener", "TestRule", "TestIngress", "ShiftRole"):
        assert rolling[name] == shifting[name]
    always = stack("ROLLING")["InferenceService"]["DeploymentConfiguration"]
    assert rolling["InferenceService"]["DeploymentConfiguration"] == {**always, **NO_ALARMS_NO_HOOKS}
    assert "ScaleOnRequests" not in rolling, "it counts one group's requests"


@pytest.mark.parametrize("strategy", SHIFTING)
def test_a_strategy_that_shifts_has_no_circuit_breaker_and_asks_the_hook_first(strategy: str) -> None:
    told = stack(strategy)["InferenceService"]["DeploymentConfiguration"]
    assert "DeploymentCircuitBreaker" not in told, "ECS knows it for rolling updates alone"
    assert told["BakeTimeInMinutes"] == {"Ref": "KeepOldMinutes"}
    [hook] = told["LifecycleHooks"]
    assert hook["LifecycleStages"] == ["POST_TEST_TRAFFIC_SHIFT"]
    assert references(hook) == {"OnTrafficShifting.Arn", "HookRole.Arn"}
    by = {"CanaryConfiguration": "CANARY", "LinearConfiguration": "LINEAR"}
    assert {name for name in by if name in told} == {name for name, its in by.items() if its == strategy}


@pytest.mark.parametrize("strategy", SHIFTING)
def test_what_is_shifted_is_watched_by_alarms_that_can_ring_in_time(strategy: str) -> None:
    told = stack(strategy)
    assert told["InferenceService"]["DeploymentConfiguration"]["Alarms"] == {
        "AlarmNames": [{"Ref": "ErrorsAlarm"}, {"Ref": "ShiftErrorsAlarm"}],
        "Enable": True,
        "Rollback": True,
    }
    alarm = told["ShiftErrorsAlarm"]
    periods = {metric["MetricStat"]["Period"] for metric in alarm["Metrics"] if "MetricStat" in metric}
    late = 60  # the load balancer sends a minute's numbers after it
    step = 60 * TEMPLATE["Parameters"]["ShiftMinutes"]["MinValue"]
    assert step >= late + 60 + max(periods) * alarm["EvaluationPeriods"]


def test_each_target_group_is_judged_by_its_own_answers() -> None:
    """Of all answers, those of a small share that fails altogether would never be more than 5 %."""
    alarm = stack("CANARY")["ShiftErrorsAlarm"]
    groups: dict[str, set[str]] = {}
    for metric in (m["MetricStat"]["Metric"] for m in alarm["Metrics"] if "MetricStat" in m):
        [group] = [d["Value"]["Fn::GetAtt"][0] for d in metric["Dimensions"] if d["Name"] == "TargetGroup"]
        groups.setdefault(group, set()).add(metric["MetricName"])
    both = {"HTTPCode_Target_5XX_Count", "RequestCount"}
    assert groups == {"TargetGroup": both, "OtherTargetGroup": both}
    assert alarm["AlarmName"]["Fn::Sub"].endswith("errors-high"), "as every alarm that takes a release back"


@pytest.mark.parametrize("strategy", SHIFTING)
def test_a_strategy_that_shifts_has_two_groups_of_one_health_and_two_rules(strategy: str) -> None:
    shifting = stack(strategy)
    [balanced] = shifting["InferenceService"]["LoadBalancers"]
    advanced = balanced["AdvancedConfiguration"]
    assert {name: told.get("Ref") or told["Fn::GetAtt"] for name, told in advanced.items()} == {
        "AlternateTargetGroupArn": "OtherTargetGroup",
        "ProductionListenerRule": "ProductionRule",
        "TestListenerRule": "TestRule",
        "RoleArn": ["ShiftRole", "Arn"],
    }
    assert shifting["OtherTargetGroup"] == shifting["TargetGroup"]
    assert shifting["ProductionRule"]["ListenerArn"] == {"Ref": "Listener"}
    assert shifting["TestRule"]["ListenerArn"] == {"Ref": "TestListener"}
    assert shifting["TestListener"]["Port"] == shifting["TestIngress"]["FromPort"] == 8081
    assert shifting["TestIngress"]["CidrIp"] == {"Ref": "AllowedCidr"}
    assert "ScaleOnRequests" not in shifting


@pytest.mark.parametrize("second_group", ["false", "true"])
@pytest.mark.parametrize("strategy", ["ROLLING", *SHIFTING])
def test_unhealthy_tasks_are_watched_in_every_target_group(strategy: str, second_group: str) -> None:
    there = stack(strategy, second_group)
    groups = {name for name in ("TargetGroup", "OtherTargetGroup") if name in there}
    alarms = [told for told in there.values() if told.get("MetricName") == "UnHealthyHostCount"]
    watched = {pair["Value"]["Fn::GetAtt"][0] for told in alarms for pair in told["Dimensions"]}
    assert watched - {"LoadBalancer"} == groups
    assert len({str(told["AlarmName"]) for told in alarms}) == len(alarms) == len(groups)


@pytest.mark.parametrize("second_group", ["false", "true"])
@pytest.mark.parametrize("strategy", ["ROLLING", *SHIFTING])
def test_nothing_that_is_there_names_what_is_not(strategy: str, second_group: str) -> None:
    there = stack(strategy, second_group)
    missing = {name for name, told in RESOURCES.items() if "Condition" in told} - set(there)
    for name, told in there.items():
        named = {reference.partition(".")[0] for reference in references(told)}
        assert not named & missing, name


@pytest.mark.parametrize("second_group", ["false", "true"])
@pytest.mark.parametrize("strategy", ["ROLLING", *SHIFTING])
def test_what_serves_is_asked_anew_whenever_the_strategy_changes_the_service(strategy: str, second_group: str) -> None:
    there = stack(strategy, second_group)
    depends_on = references(there["InferenceService"]) - {"TaskDefinition"}
    assert depends_on <= references(there["ServingRelease"]["Service"])
    told = there["InferenceService"]["DeploymentConfiguration"]
    assert (told.get("LifecycleHooks") == []) is (
        there["ServingRelease"]["Service"].get("Shifting") == "no alarms and no hooks"
    )


def test_the_way_back_to_rolling_takes_alarms_and_hooks_off_and_a_service_that_always_rolled_is_told_nothing() -> None:
    """There are regions where ECS knows no alarms of deployments, and refuses even an empty list."""
    back = stack("ROLLING", "true")["InferenceService"]["DeploymentConfiguration"]
    assert {name: back[name] for name in NO_ALARMS_NO_HOOKS} == NO_ALARMS_NO_HOOKS
    always = stack("ROLLING", "false")["InferenceService"]["DeploymentConfiguration"]
    assert not set(NO_ALARMS_NO_HOOKS) & set(always)


def test_the_roles_of_ecs_move_these_rules_and_ask_this_hook_alone() -> None:
    asked = RESOURCES["HookRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert [(one["Action"], one["Resource"]) for one in asked] == [
        ("lambda:InvokeFunction", {"Fn::GetAtt": ["OnTrafficShifting", "Arn"]})
    ]
    moved = RESOURCES["ShiftRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    assert references(moved) == {
        "TargetGroup",
        "OtherTargetGroup",
        "ProductionRule",
        "TestRule",
        "Listener",
        "TestListener",
    }


def test_the_hooks_role_may_be_handed_back_to_ecs_alone_when_it_is_there() -> None:
    """UpdateService that makes ECS deaf to the alarms on a way back names the whole configuration, and so the hook."""
    stated = RESOURCES["RollService"]["Properties"]["PolicyDocument"]["Statement"]
    [(condition, handed, otherwise)] = [each["Fn::If"] for each in stated if "Fn::If" in each]
    assert (condition, otherwise) == ("Shifts", {"Ref": "AWS::NoValue"})
    assert (handed["Action"], handed["Resource"]) == ("iam:PassRole", {"Fn::GetAtt": ["HookRole", "Arn"]})
    assert handed["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs.amazonaws.com"}}


def test_the_hook_does_not_name_the_service_that_names_it() -> None:
    """CloudFormation would refuse the circle."""
    seen, open_ = set[str](), {"OnTrafficShifting"}
    while open_:
        name = open_.pop()
        seen.add(name)
        named = {each.partition(".")[0] for each in references(RESOURCES[name].get("Properties", {}))}
        open_ |= (named & set(RESOURCES)) - seen
    assert "InferenceService" not in seen
