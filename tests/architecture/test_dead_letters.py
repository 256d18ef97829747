"""What cannot be delivered or handled is kept, and every alarm is heard."""

from __future__ import annotations

import re

from tests.architecture.cloudformation import FUNCTIONS, TEMPLATE, of_type, references

NO_DEAD_LETTERS = {
    "OnReconcileDue.ReconcileDue": "the next one comes in five minutes and finds the same; a failed look has OnFailure",
}


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


class TestAlarms:
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
