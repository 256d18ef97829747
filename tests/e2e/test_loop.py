"""The main job, end to end on the real template: data in, champion out; what cannot be trained on is told of."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.e2e.stack import Stack, as_csv, reviews

pytestmark = pytest.mark.e2e
CONTRACTS = Path(__file__).resolve().parents[2] / "events" / "contracts"


def finished(stack: Stack, dataset: str) -> Any:
    return [run for run in stack.runs(dataset) if run["state"] in {"PROMOTED", "REJECTED", "FAILED"}]


def test_another_dataset_gets_a_champion_with_its_own_labels_and_what_serves_stays(stack: Stack) -> None:
    before = stack.rollout()
    stack.drop("raw/other/reviews.csv", as_csv(reviews(300, seed=1)))
    [run] = stack.wait("a finished run of dataset other", lambda: finished(stack, "other"))
    assert (run["state"], run["dataset"]) == ("PROMOTED", "other")
    manifest = stack.read_json(f"models/{run['run_id']}/manifest.json")
    jsonschema.validate(manifest, json.loads((CONTRACTS / "manifest.json").read_text()))
    assert sorted(manifest["labels"]) == ["neg", "pos"]
    assert stack.items("champion")["other"] == run["run_id"]
    assert stack.rollout() == before
    [mail] = stack.wait("the mail", lambda: stack.mails(run["run_id"]))
    assert "Only the champion of ServedDataset is served" in mail["body"]
    card = stack.read_json(f"runs/{run['run_id']}/card.json")
    assert card["state"] == "PROMOTED" and card["metrics"]["accuracy"] == manifest["metrics"]["accuracy"]
    assert 0 < card["dollars"] < card["on_demand_dollars"]
    assert "; on demand it would have cost $" in mail["body"]


def test_keys_of_every_kind_reach_the_run_unchanged(stack: Stack) -> None:
    names = ["plain.csv", "r (1) + ñ.csv", "100%25 sure.csv", 'it\'s "quoted".csv', "two\nlines.csv", "UPPER.CSV"]
    for number, name in enumerate(names):
        stack.drop(f"raw/odd names/{name}", as_csv(reviews(60, seed=10 + number)))
    wanted = {f"raw/odd names/{name}" for name in names}

    def with_all_of_them() -> Any:
        """The drops may have settled as one batch or as two."""
        for done in finished(stack, "odd names"):
            spec = stack.read_json(f"runs/{done['run_id']}/spec.json")
            if {told["key"] for told in spec["snapshot"]["objects"]} == wanted:
                return done
        return None

    run = stack.wait("a finished run on all of them", with_all_of_them)
    assert stack.read_json(f"models/{run['run_id']}/manifest.json")["rows"]["accepted"] == 60 * len(names)


def test_what_cannot_be_trained_on_gets_a_report_and_one_mail_and_is_not_lost(stack: Stack) -> None:
    good = as_csv(reviews(40, seed=2))
    bad = {
        "empty.csv": b"",
        "header.csv": b"text,label\n",
        "one column.csv": b"text\nfine\n",
        "one class.csv": b"text,label\na,1\nb,1\n",
        "binary.csv": b"text,label\n\x00\x01,1\n",
        "latin.csv": "text,label\ncaf\xe9,1\nb,0\n".encode("latin-1"),
        "packed.csv": gzip.compress(good),
        "long.csv": b"x" * (1024 * 1024 + 10),
        "notes.txt": good,
    }
    for name, body in bad.items():
        stack.drop(f"raw/broken/{name}", body)
    stack.cloud.client("s3").put_object(Bucket=stack.bucket, Key="raw/broken/folder/", Body=b"")
    [mail] = stack.wait("one mail", lambda: stack.mails("dataset broken"), 60)
    assert f"{len(bad)} files refused" in mail["subject"]
    reports = [key for key in stack.keys("quarantine/") if key.endswith("report.json")]
    told = {report["key"]: report for report in map(stack.read_json, reports) if report["dataset"] == "broken"}
    assert set(told) == {f"raw/broken/{name}" for name in bad}
    schema = json.loads((CONTRACTS / "quarantine_report.json").read_text())
    for key, report in told.items():
        jsonschema.validate(report, schema)
        assert key in mail["body"] and report["findings"][0]["sentence"] in mail["body"]
    assert stack.keys("raw/broken/") == {f"raw/broken/{name}" for name in [*bad, "folder/"]}
    assert not stack.runs("broken") and "Traceback" not in mail["body"]
    dead = stack.cloud.client("sqs").get_queue_attributes(
        QueueUrl=stack.outputs["IngestDeadLettersUrl"], AttributeNames=["ApproximateNumberOfMessages"]
    )
    assert dead["Attributes"]["ApproximateNumberOfMessages"] == "0"


def test_events_that_come_five_times_and_in_the_wrong_order_make_one_run_on_one_machine(stack: Stack) -> None:
    for name in ("first", "second"):
        stack.drop(f"raw/again/{name}.csv", as_csv(reviews(60, seed=len(name))))
    s3 = stack.cloud.client("s3")
    sent = []
    for name in ("second", "first"):
        key = f"raw/again/{name}.csv"
        head = s3.head_object(Bucket=stack.bucket, Key=key)
        told = {"key": key, "size": head["ContentLength"], "etag": head["ETag"].strip('"'), "sequencer": "00"}
        sent.append({"detail": {"bucket": {"name": stack.bucket}, "object": told}})
    for event in sent * 5:
        stack.cloud.client("sqs").send_message(QueueUrl=stack.outputs["IngestQueueUrl"], MessageBody=json.dumps(event))
    [run] = stack.wait("a finished run", lambda: finished(stack, "again"))
    for event in sent:
        stack.cloud.client("sqs").send_message(QueueUrl=stack.outputs["IngestQueueUrl"], MessageBody=json.dumps(event))
    stack.drop("raw/afterwards/empty.csv", b"")
    stack.wait("a later drop's mail", lambda: stack.mails("dataset afterwards"), 60)
    assert [known["run_id"] for known in stack.runs("again")] == [run["run_id"]]
    assert len(stack.machines_of(run["run_id"])) == 1 and run["attempt"] == 1
    assert len(stack.mails(run["run_id"])) == 1


def test_a_model_and_a_machine_that_are_told_of_five_times_in_the_wrong_order_change_nothing(stack: Stack) -> None:
    stack.drop("raw/told/reviews.csv", as_csv(reviews(120, seed=7)))
    [run] = stack.wait("a finished run of dataset told", lambda: finished(stack, "told"))
    stack.wait("its mail", lambda: stack.mails(run["run_id"]))
    [machine] = stack.machines_of(run["run_id"])
    stack.wait("the end of its machine", lambda: stack.logged(run["run_id"], "is gone"))
    before = stack.items("run")[run["run_id"]]
    key = f"models/{run['run_id']}/manifest.json"
    told = {"bucket": {"name": stack.bucket}, "object": {"key": key, "size": 1, "etag": "e", "sequencer": "00"}}
    common = {"version": "0", "account": "000000000000", "time": "2026-01-01T00:00:00Z", "region": "us-east-1"}
    for state in ("terminated", "running"):
        detail = {"instance-id": machine, "state": state}
        kind = "EC2 Instance State-change Notification"
        changed: dict[str, Any] = {
            "id": state,
            "source": "aws.ec2",
            "detail-type": kind,
            "resources": [],
            "detail": detail,
        }
        stack.deliver({**common, **changed}, 5)
    published = {"id": "1", "source": "aws.s3", "detail-type": "Object Created", "resources": [], "detail": told}
    stack.deliver({**common, **published}, 5)
    stack.wait("all of them handled", lambda: stack.logged("model published", run["run_id"]) >= 6)
    stack.wait("the machine's too", lambda: stack.logged("machine changed", machine) >= 12)
    assert stack.items("run")[run["run_id"]] == before
    assert len(stack.machines_of(run["run_id"])) == len(stack.mails(run["run_id"])) == 1


def test_without_one_statement_the_function_is_refused_by_name(stack: Stack) -> None:
    iam = stack.cloud.client("iam")
    [role] = [r["RoleName"] for r in iam.list_roles()["Roles"] if "OnDataDroppedRole" in r["RoleName"]]
    [name] = [
        n
        for n in iam.list_role_policies(RoleName=role)["PolicyNames"]
        if "SetTheTimer" in json.dumps(iam.get_role_policy(RoleName=role, PolicyName=n)["PolicyDocument"])
    ]
    whole = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    less = {**whole, "Statement": [s for s in whole["Statement"] if s["Sid"] != "SetTheTimer"]}
    iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(less))
    try:
        stack.drop("raw/refused/reviews.csv", as_csv(reviews(60, seed=3)))
        refused = stack.wait("a refusal", lambda: [line for line in stack.denied() if "sqs:SendMessage" in line], 60)
        assert "OnDataDropped" in refused[0]
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(whole))
