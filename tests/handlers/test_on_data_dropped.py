"""Messages fail one by one; and a drop goes all the way from its event into ledger, bucket and queue."""

from __future__ import annotations

import json
from typing import Any

import boto3
import on_data_dropped
import pytest

from tests.handlers.samples import SETTINGS, dropped, message

pytestmark = pytest.mark.usefixtures("aws")


@pytest.fixture(autouse=True)
def fresh() -> None:
    on_data_dropped.flow.cache_clear()


def uploaded(key: str, content: bytes) -> dict[str, Any]:
    told = boto3.client("s3").put_object(Bucket=SETTINGS["BUCKET"], Key=key, Body=content)
    event = dropped()
    event["detail"]["object"] = {
        "key": key,
        "size": len(content),
        "etag": told["ETag"].strip('"'),
        "version-id": told["VersionId"],
        "sequencer": "00",
    }
    return event


def failed(*messages: dict[str, Any], context: object) -> list[str]:
    told = on_data_dropped.handler({"Records": list(messages)}, context)
    return [failure["itemIdentifier"] for failure in told["batchItemFailures"]]


def kinds() -> set[str]:
    return {item["kind"]["S"] for item in boto3.client("dynamodb").scan(TableName="ledger")["Items"]}


def rings() -> int:
    """Timers that wait in the batch queue."""
    sqs = boto3.client("sqs")
    [url] = sqs.list_queues()["QueueUrls"]
    told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesDelayed"])
    return int(told["Attributes"]["ApproximateNumberOfMessagesDelayed"])


def test_a_good_drop_is_in_the_ledger_and_its_timer_is_set(context: object) -> None:
    event = uploaded("raw/films/a+b %20 ñ.csv", b"text,label\ngood,pos\nbad,neg\n")
    assert failed(message(event), context=context) == []
    assert {"batch", "drop", "drops films"} <= kinds()
    assert rings() == 1


def test_a_bad_drop_is_quarantined_with_both_reports(context: object) -> None:
    assert failed(message(uploaded("raw/bad.csv", b"text,label\n")), context=context) == []
    found = boto3.client("s3").list_objects_v2(Bucket="data", Prefix="quarantine/")["Contents"]
    assert sorted(item["Key"].rpartition("/")[2] for item in found) == ["report.html", "report.json"]
    assert "drops default" not in kinds()


def test_the_same_message_five_times_is_one_drop(context: object) -> None:
    event = uploaded("raw/a.csv", b"text,label\ngood,pos\nbad,neg\n")
    for _ in range(5):
        assert failed(message(event), context=context) == []
    found = boto3.client("dynamodb").query(
        TableName="ledger", KeyConditionExpression="kind = :kind", ExpressionAttributeValues={":kind": {"S": "batch"}}
    )["Items"]
    assert [json.loads(item["doc"]["S"])["accepted"] for item in found] == [1]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not json",
        "{}",
        "[]",
        "null",
        '"text"',
        '{"Event": "s3:TestEvent"}',
        '{"detail": {"object": {"key": "raw/a.csv"}}}',
    ],
)
def test_only_the_bad_message_goes_back_to_its_queue(context: object, body: str) -> None:
    good = uploaded("raw/a.csv", b"text,label\ngood,pos\nbad,neg\n")
    assert failed(message(body, "bad"), message(good, "good"), context=context) == ["bad"]
    assert "drops default" in kinds()


def test_a_drop_that_cannot_be_handled_does_not_take_its_neighbours_along(context: object) -> None:
    good, bad = (uploaded(f"raw/{name}.csv", b"text,label\ngood,pos\nbad,neg\n") for name in "ab")
    bad["detail"]["object"]["size"] = "no number"
    assert failed(message(bad, "bad"), message(good, "good"), context=context) == ["bad"]
    assert "drops default" in kinds()


def test_a_nameless_folder_is_a_dataset_all_the_same(context: object) -> None:
    event = uploaded("raw//x.csv", b"text,label\ngood,pos\nbad,neg\n")
    assert failed(message(event), context=context) == []
    assert "drops default" in kinds()


def test_a_datasets_own_settings_are_read_as_yaml_and_name_its_columns(context: object) -> None:
    said = uploaded("raw/films/tidegate.yaml", b"# ours\ntext_column: comment\nlabel_column: stars\n")
    rows = uploaded("raw/films/a.csv", b"comment,stars\ngood,5\nbad,1\n")
    bad = uploaded("raw/books/tidegate.yaml", b"text_colunm: comment\n")
    assert failed(message(rows), message(said), message(bad), context=context) == []
    listed = boto3.client("s3").list_objects_v2(Bucket=SETTINGS["BUCKET"], Prefix="quarantine/")["Contents"]
    [report] = [item["Key"] for item in listed if item["Key"].endswith("report.json")]
    told = json.loads(boto3.client("s3").get_object(Bucket=SETTINGS["BUCKET"], Key=report)["Body"].read())
    assert told["key"] == "raw/books/tidegate.yaml"
    assert 'Nobody knows the key "text_colunm". Known are recipe' in told["findings"][0]["sentence"]
