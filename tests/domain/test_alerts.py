"""Alerts are for people: what happened, why, what was done, what to do, where to look."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from controlplane.domain import alerts
from controlplane.domain.alarms import AlarmChange, Answer
from controlplane.domain.alerts import Alert
from controlplane.domain.batches import TOLD_BY_NAME, Batch
from controlplane.domain.drops import Drop, Finding
from controlplane.domain.failures import FailedTask
from controlplane.domain.releases import Fate, Release, ReleaseState
from controlplane.domain.runs import Run, RunState

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECTIONS = ("What happened: ", "Why: ", "What was done: ", "What to do: ", "Where to look: ")


def subject_of(subject: str) -> str:
    return Alert.of("x", subject, happened="h", why="w", done="d", to_do="t", look="l").subject


def batch(dataset: str = "films", refused: int = 1) -> Batch:
    opened = Batch.opened(dataset, NOON).with_accepted(NOON)
    for number in range(refused):
        drop = Drop(f"raw/{dataset}/bad {number}.csv", "e", 0)
        opened = opened.with_refused(drop, Finding("empty", "The file is empty."), NOON)
    return opened


def every_kind() -> list[Alert]:
    run = Run("films-1", "films", "sha256:0", NOON)
    release = Release(2, "push v2", "sha256:2", "m1", reason="because")
    change = AlarmChange("tidegate-latency-high", "ALARM", "OK", "", NOON)
    return [
        alerts.drops_refused(batch(), "data"),
        *(
            alerts.run_ended(
                run.ended(state, "because"), sentence="because", cost="1 minute", bucket="data", serves=True
            )
            for state in (RunState.PROMOTED, RunState.REJECTED, RunState.FAILED)
        ),
        *(
            alerts.release_settled(release.now(state, NOON, "because"), None, "service")
            for state in (ReleaseState.SERVING, ReleaseState.FAILED, ReleaseState.ROLLED_BACK)
        ),
        alerts.alarm_changed(change, Answer("Nothing.", "Look."), "dashboard"),
        alerts.machine_orphaned("i-1", "films-1", "because"),
    ]


@pytest.mark.parametrize("alert", every_kind(), ids=lambda alert: alert.alert_id)
def test_every_alert_says_what_why_done_todo_and_where(alert: Alert) -> None:
    lines = [line for line in alert.body.splitlines() if line.startswith(SECTIONS)]
    assert [line.partition(": ")[0] + ": " for line in lines] == list(SECTIONS)
    assert len(alert.subject) < 100
    assert alert.subject.isascii()


def test_every_alert_has_an_identity_of_its_own() -> None:
    told = every_kind()
    assert len({alert.alert_id for alert in told}) == len(told)


class TestASubject:
    def test_is_shorter_than_100_characters(self) -> None:
        assert subject_of("x" * 99) == "x" * 99
        assert subject_of("x" * 100) == "x" * 96 + "..."
        assert len(subject_of("x" * 5000)) < 100

    def test_is_one_line(self) -> None:
        assert len(subject_of("two\nlines\r\nand\u2028more").splitlines()) == 1

    def test_is_ascii(self) -> None:
        assert subject_of("Größe 日本") == "Gr??e ??"

    def test_has_no_control_characters(self) -> None:
        assert subject_of("a\x01b\x7fc").isprintable()

    def test_names_a_dataset_in_any_script(self) -> None:
        alert = alerts.drops_refused(batch("日本語レビュー" * 30), "data")
        assert alert.subject.startswith("Tidegate: 1 file refused in dataset ?")
        assert alert.subject.isascii()
        assert len(alert.subject) < 100
        assert "日本語レビュー" in alert.body


class TestRefusedDrops:
    def test_one_alert_names_each_with_its_report(self) -> None:
        alert = alerts.drops_refused(batch(refused=2), "data")
        assert alert.subject == "Tidegate: 2 files refused in dataset films"
        assert alert.body.count("The file is empty.") == 2
        assert alert.body.count("s3://data/quarantine/") == 3
        assert "raw/films/bad 1.csv" in alert.body

    def test_a_storm_is_gathered(self) -> None:
        alert = alerts.drops_refused(batch(refused=5000), "data")
        assert f"and {5000 - TOLD_BY_NAME} more" in alert.body
        assert len(alert.body) < 10_000

    def test_the_same_batch_makes_the_same_alert(self) -> None:
        assert alerts.drops_refused(batch(), "data") == alerts.drops_refused(batch(), "data")


class TestARun:
    RUN = Run("films-1", "films", "sha256:0", NOON).ended(RunState.PROMOTED, "Better.")

    def told(self, run: Run, *, serves: bool = True) -> Alert:
        return alerts.run_ended(run, sentence=run.reason, cost="1 minute for $0.01", bucket="data", serves=serves)

    def test_a_champion_of_another_dataset_does_not_claim_to_serve(self) -> None:
        assert "Only the champion of ServedDataset is served" in self.told(self.RUN, serves=False).body
        assert "goes into the next release" in self.told(self.RUN).body

    def test_a_failed_run_says_where_its_logs_are(self) -> None:
        alert = self.told(replace(self.RUN, state=RunState.FAILED, reason="45 % refused."))
        assert "Why: 45 % refused." in alert.body
        assert "s3://data/logs/films-1/" in alert.body
        assert "$0.01" in alert.body


class TestARelease:
    def test_that_fell_names_what_serves_instead(self) -> None:
        good = Release(1, "push v1", "sha256:1", "m1", ReleaseState.SERVING)
        fallen = Release(2, "push v2", "sha256:2", None).now(ReleaseState.ROLLED_BACK, NOON, "tasks died")
        alert = alerts.release_settled(fallen, good, "service")
        assert alert.subject == "Tidegate: release 2 rolled back"
        assert "image and model of release 1 roll out again (image sha256:1, model m1)" in alert.body
        assert "Why: tasks died" in alert.body

    def test_that_fell_says_how_its_task_ended_and_what_it_said_last(self) -> None:
        task = FailedTask("t1", "EssentialContainerExited", "Essential container in task exited", 1, ("a", "b"))
        fallen = replace(
            Release(2, "push v2", "sha256:2", None).now(ReleaseState.ROLLED_BACK, NOON, task.sentence), failed=task
        )
        body = alerts.release_settled(fallen, None, "service").body
        assert "Task t1: EssentialContainerExited, Essential container in task exited, exit code 1." in body
        assert "The last 2 lines of its log:\n  | a\n  | b\n" in body

    def test_whose_task_left_no_log_says_that(self) -> None:
        task = FailedTask("t1", lacking="there is no log stream task/inference/t1")
        fallen = replace(Release(2, "push v2", "sha256:2", None, ReleaseState.FAILED), failed=task)
        assert (
            "Its last log lines are not there: there is no log stream task/inference/t1."
            in alerts.release_settled(fallen, None, "service").body
        )

    def test_that_came_back_or_did_not_is_told(self) -> None:
        back = Release(1, "back from release 2", "sha256:1", "m1")
        came = alerts.went_back(back, Fate(serves=True), None, "service")
        assert came.subject == "Tidegate: release 1 serves again"
        assert "Release 1 serves (image sha256:1, model m1)." in came.body
        lost = alerts.went_back(back, Fate(serves=False, by="the deadline", why="1 of 2 tasks run"), None, "service")
        assert lost.subject == "Tidegate: release 1 did not come back"
        assert "the deadline: 1 of 2 tasks run" in lost.body
        assert came.alert_id != lost.alert_id, "what was lost may come back by the next try"

    def test_that_was_the_first_and_failed_says_that_nothing_serves(self) -> None:
        fallen = Release(1, "push v1", "sha256:1", None).now(ReleaseState.FAILED, NOON, "tasks died")
        assert "No release serves" in alerts.release_settled(fallen, None, "service").body


def test_an_alarm_without_a_reason_says_so() -> None:
    change = AlarmChange("a", "ALARM", "OK", "", NOON)
    assert "Why: CloudWatch gave no reason." in alerts.alarm_changed(change, Answer("d", "t"), "x").body
