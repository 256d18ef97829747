"""What each handler reads out of its event, in all the shapes that AWS documents; what it does not know it ignores."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from typing import Any

import on_alarm_changed
import on_batch_settled
import on_data_dropped
import on_deployment_changed
import on_image_pushed
import on_image_scanned
import on_machine_changed
import on_model_published
import on_probe_asked
import on_reconcile_due
import on_stack_deploying
import on_traffic_shifting
import pytest
from controlplane.domain.alarms import AlarmChange
from controlplane.domain.drops import Drop
from controlplane.domain.images import Push
from controlplane.domain.machines import AttemptEnded, MachineChanged
from controlplane.domain.probes import GoldenRow

from tests.handlers.samples import dropped, message, sample


class TestADrop:
    def test_the_sample(self) -> None:
        assert on_data_dropped.parse(dropped()) == Drop(
            "raw/reviews (1) + more.csv",
            "b1946ac92492d2347c6235b4d2611184",
            1144642,
            "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
            "00617F08299329D189",
        )

    @pytest.mark.parametrize("key", ["raw/a+b %20 ñ.csv", "raw/a=b&c@d.csv", "raw/a\nb.csv", "raw/'\".csv"])
    def test_the_key_is_raw(self, key: str) -> None:
        event = dropped()
        event["detail"]["object"]["key"] = key
        assert on_data_dropped.parse(event).key == key

    def test_a_version_is_not_always_there(self) -> None:
        event = dropped()
        del event["detail"]["object"]["version-id"]
        assert on_data_dropped.parse(event).version_id is None

    def test_a_sequencer_is_not_always_there(self) -> None:
        event = dropped()
        del event["detail"]["object"]["sequencer"]
        assert on_data_dropped.parse(event).sequencer == ""


class TestAnAlarm:
    def test_the_sample(self) -> None:
        assert on_alarm_changed.parse(sample("on_alarm_changed")) == AlarmChange(
            "tidegate-local-latency-high",
            "ALARM",
            "OK",
            "Threshold Crossed: 3 datapoints were greater than the threshold (0.3).",
            datetime(2026, 1, 1, 12, tzinfo=UTC),
            "The slowest 5 % of the answers take longer than 300 ms.",
        )

    @pytest.mark.parametrize(
        "stamp",
        [
            "2026-01-01T12:00:00.040+0000",
            "2026-01-01T12:00:00.040+00:00",
            "2026-01-01T14:00:00.040+0200",
            "2026-01-01T12:00:00.040Z",
        ],
    )
    def test_a_time_is_read_with_and_without_a_colon_in_its_offset(self, stamp: str) -> None:
        event = sample("on_alarm_changed")
        event["detail"]["state"]["timestamp"] = stamp
        assert on_alarm_changed.parse(event).at == datetime(2026, 1, 1, 12, 0, 0, 40000, tzinfo=UTC)

    def test_a_composite_alarm_has_a_rule_and_no_metrics(self) -> None:
        event = sample("on_alarm_changed")
        event["detail"]["configuration"] = {"alarmRule": "ALARM(a) OR ALARM(b)"}
        del event["detail"]["state"]["reasonData"]
        assert on_alarm_changed.parse(event).description == ""

    def test_reason_and_previous_state_may_be_missing(self) -> None:
        event = sample("on_alarm_changed")
        del event["detail"]["state"]["reason"], event["detail"]["previousState"]
        change = on_alarm_changed.parse(event)
        assert (change.reason, change.previous_state) == ("", "")

    @pytest.mark.parametrize(
        ("place", "field", "value"),
        [("detail", "muteDetail", {"muteRule": "nights"}), ("state", "actionsSuppressedBy", "WaitPeriod")],
    )
    def test_a_muted_or_suppressed_one_is_silenced(self, place: str, field: str, value: object) -> None:
        event = sample("on_alarm_changed")
        (event["detail"] if place == "detail" else event["detail"]["state"])[field] = value
        assert on_alarm_changed.parse(event).silenced
        assert not on_alarm_changed.parse(sample("on_alarm_changed")).silenced


class TestAMachine:
    @pytest.mark.parametrize(
        ("state", "alive"),
        [
            ("pending", None),
            ("running", True),
            ("shutting-down", False),
            ("stopping", False),
            ("stopped", False),
            ("terminated", False),
            ("a-new-state", None),
        ],
    )
    def test_its_state(self, state: str, alive: bool | None) -> None:
        event = sample("on_machine_changed")
        event["detail"]["state"] = state
        assert on_machine_changed.parse(event) == MachineChanged("i-0abcd1234efgh5678", alive)

    @pytest.mark.parametrize("kind", ["spot", "rebalance"])
    def test_a_warning_is_only_a_warning(self, kind: str) -> None:
        told = on_machine_changed.parse(sample(f"on_machine_changed.{kind}"))
        assert told == MachineChanged("i-0abcd1234efgh5678", None, is_warning=True)

    def test_the_trainers_last_word_names_run_and_attempt(self) -> None:
        told = on_machine_changed.parse(sample("on_machine_changed.outcome"))
        assert told == AttemptEnded("default-3f2a9c1b7e44", 2)

    @pytest.mark.parametrize("key", ["logs/x/1/plots/outcome.json", "logs/x/one/outcome.json", "logs/x/outcome.json"])
    def test_other_objects_of_that_name_are_not_it(self, key: str) -> None:
        event = sample("on_machine_changed.outcome")
        event["detail"]["object"]["key"] = key
        assert on_machine_changed.parse(event) is None


class TestAnImage:
    def test_the_sample(self) -> None:
        digest = "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234aaaa"
        kind = "application/vnd.oci.image.manifest.v1+json"
        assert on_image_pushed.parse(sample("on_image_pushed")) == Push(
            "tidegate-local/inference", digest, "v1", kind, at=datetime(2026, 1, 1, 12, tzinfo=UTC)
        )

    @pytest.mark.parametrize("untagged", [{"image-tag": ""}, {}])
    def test_an_untagged_push_has_an_empty_tag_or_none(self, untagged: dict[str, str]) -> None:
        event = sample("on_image_pushed")
        del event["detail"]["image-tag"]
        event["detail"].update(untagged)
        assert on_image_pushed.parse(event).tag == ""

    def test_older_pushes_tell_no_media_type(self) -> None:
        event = sample("on_image_pushed")
        del event["detail"]["manifest-media-type"]
        push = on_image_pushed.parse(event)
        assert (push.tag, push.manifest_type, push.artifact_type) == ("v1", "", "")

    def test_an_artifact_tells_its_type(self) -> None:
        event = sample("on_image_pushed")
        event["detail"]["artifact-media-type"] = "application/vnd.cncf.helm.config.v1+json"
        assert on_image_pushed.parse(event).artifact_type == "application/vnd.cncf.helm.config.v1+json"


class TestAScan:
    @pytest.mark.parametrize(
        ("name", "status"), [("on_image_scanned", "COMPLETE"), ("on_image_scanned.inspector", "INITIAL_SCAN_COMPLETE")]
    )
    def test_of_ecr_or_inspector_names_repository_and_image(self, name: str, status: str) -> None:
        digest = "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234aaaa"
        told = on_image_scanned.parse(sample(name))
        at = datetime.fromisoformat(sample(name)["time"])
        assert told == on_image_scanned.ScanOver(digest, status, at)

    def test_that_failed_counts_nothing(self) -> None:
        event = sample("on_image_scanned")
        del event["detail"]["finding-severity-counts"]
        event["detail"]["scan-status"] = "FAILED"
        assert on_image_scanned.parse(event).status == "FAILED"


class TestADeployment:
    def test_what_happened_to_which_is_only_for_the_log(self) -> None:
        told = on_deployment_changed.parse(sample("on_deployment_changed"))
        assert told == "SERVICE_DEPLOYMENT_COMPLETED ecs-svc/1234567890123456789"

    def test_a_task_that_ended_by_itself_is_named_for_the_log(self) -> None:
        told = on_deployment_changed.parse(sample("on_deployment_changed.crash"))
        arn = "arn:aws:ecs:us-east-1:000000000000:task/tidegate-local-cluster/c13b4cb40f1f4fe4a2971f76ae5a47ad"
        assert told == f"EssentialContainerExited {arn}"

    def test_a_look_that_is_due_names_nothing(self) -> None:
        assert on_deployment_changed.parse(sample("on_deployment_changed.look")) == "a look is due"


class TestAProbe:
    def test_the_sample(self) -> None:
        asked = on_probe_asked.parse(sample("on_probe_asked"))
        assert asked.question.release == 7
        assert asked.question.rows[0] == GoldenRow("A warm and gripping film.", "positive")
        assert asked.addresses == ["10.77.3.21:8080", "10.77.18.4:8080"]


class TestATrafficShift:
    def test_names_the_service_and_the_revision_that_asks(self) -> None:
        event = sample("on_traffic_shifting")
        revision = event["executionDetails"]["targetServiceRevisionArn"]
        assert on_traffic_shifting.parse(event) == ("tidegate-local-service", revision)

    def test_weights_and_what_nobody_knows_are_ignored(self) -> None:
        event = sample("on_traffic_shifting")
        known = on_traffic_shifting.parse(event)
        del event["executionDetails"]["testTrafficWeights"], event["executionDetails"]["productionTrafficWeights"]
        event["a-new-field"] = event["executionDetails"]["another"] = {"deep": [1]}
        assert on_traffic_shifting.parse(event) == known

    @pytest.mark.parametrize("lacking", ["serviceArn", "targetServiceRevisionArn"])
    def test_without_service_or_revision_is_a_fault_and_no_leave_to_shift(self, lacking: str) -> None:
        event = sample("on_traffic_shifting")
        del event["executionDetails"][lacking]
        with pytest.raises(KeyError, match=lacking):
            on_traffic_shifting.parse(event)


class TestTheRest:
    def test_a_timer_names_its_batch(self) -> None:
        ring = on_batch_settled.parse(sample("on_batch_settled"))
        assert ring == on_batch_settled.Ring(
            "default", "default@2026-01-01T12:00:00+00:00", datetime(2026, 1, 1, 12, tzinfo=UTC)
        )

    def test_a_timer_without_a_batch_only_looks(self) -> None:
        assert on_batch_settled.parse({"Records": [message({})]}) == on_batch_settled.Ring(None, "", None)

    def test_a_timer_may_name_a_machine_that_was_warned(self) -> None:
        ring = on_batch_settled.parse(sample("on_batch_settled.machine"))
        assert ring == on_batch_settled.Ring(None, "", None, "i-0abcd1234efgh5678")

    def test_a_model_is_named_by_its_folder(self) -> None:
        assert on_model_published.parse(sample("on_model_published")) == "default-3f2a9c1b7e44"

    @pytest.mark.parametrize("event", [{"time": "t"}, {"scheduled-time": "t"}, {"detail": "{}", "time": "t"}])
    def test_a_look_needs_nothing_but_may_know_when_it_was_due(self, event: dict[str, Any]) -> None:
        assert on_reconcile_due.parse(event) == "t"
        assert on_reconcile_due.parse({}) == "now"

    def test_a_request_of_cloudformation(self) -> None:
        event = sample("on_stack_deploying")
        request = on_stack_deploying.parse(event)
        assert (request.kind, request.answer_to) == ("Create", event["ResponseURL"])
        assert request.echoed == {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}


@pytest.mark.parametrize(
    "name",
    [
        "on_alarm_changed",
        "on_deployment_changed",
        "on_deployment_changed.crash",
        "on_image_pushed",
        "on_image_scanned",
        "on_machine_changed",
        "on_model_published",
        "on_reconcile_due",
        "on_stack_deploying",
    ],
)
def test_fields_that_nobody_knows_are_ignored(name: str) -> None:
    handler, event = importlib.import_module(name.partition(".")[0]), sample(name)
    known = handler.parse(event)
    event["replay-name"] = "again"
    if "detail" in event:
        event["detail"]["a-new-field"] = {"deep": [1]}
        event["detail"].setdefault("object", {})["a-new-field"] = 1
    assert handler.parse(event) == known


def test_unknown_fields_of_a_drop_are_ignored() -> None:
    event = dropped()
    event["detail"]["object"]["checksum"] = event["detail"]["new"] = "x"
    assert on_data_dropped.parse(event) == on_data_dropped.parse(dropped())


def test_a_manifest_in_a_folder_of_a_model_is_not_the_models() -> None:
    event = sample("on_model_published")
    event["detail"]["object"]["key"] = "models/default-3f2a9c1b7e44/tokenizer/manifest.json"
    assert on_model_published.parse(event) is None
