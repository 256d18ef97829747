"""The data bucket on S3: versions, odd keys, what is gone, and reports that are safe to open."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from controlplane.adapters.s3_bucket import S3Bucket
from controlplane.domain.drops import Drop, Finding
from controlplane.domain.models import BadManifest
from controlplane.domain.probes import ChangedGoldenSet, GoldenRow
from controlplane.domain.runs import Outcome

from tests.flows.fakes import NOON

ODD = ["raw/a b+c%20.csv", "raw/ñ/日本 \"q\" 'q'.csv", "raw/films/a\nb.csv", "raw/films/&<x>.csv"]


@pytest.fixture
def s3(aws: Callable[[str], Any]) -> Any:
    client = aws("s3")
    client.create_bucket(Bucket="data")
    client.put_bucket_versioning(Bucket="data", VersioningConfiguration={"Status": "Enabled"})
    return client


def put(s3: Any, key: str, content: bytes = b"text,label\n") -> Drop:
    told = s3.put_object(Bucket="data", Key=key, Body=content)
    return Drop(key, told["ETag"].strip('"'), len(content), told["VersionId"])


class TestHead:
    @pytest.mark.parametrize("key", ODD)
    def test_the_first_bytes_are_read_whatever_the_key(self, s3: Any, key: str) -> None:
        assert S3Bucket(s3, "data").head(put(s3, key, b"0123456789"), 4) == b"0123"

    def test_a_short_object_is_read_whole(self, s3: Any) -> None:
        assert S3Bucket(s3, "data").head(put(s3, "raw/a.csv", b"01"), 1024) == b"01"

    def test_an_empty_object_is_empty(self, s3: Any) -> None:
        assert S3Bucket(s3, "data").head(put(s3, "raw/a.csv", b""), 1024) == b""

    def test_the_version_that_the_event_names_is_read(self, s3: Any) -> None:
        old = put(s3, "raw/a.csv", b"old")
        put(s3, "raw/a.csv", b"new")
        assert S3Bucket(s3, "data").head(old, 9) == b"old"

    def test_without_a_version_a_replaced_object_is_gone(self, s3: Any) -> None:
        old = put(s3, "raw/a.csv", b"old")
        put(s3, "raw/a.csv", b"new")
        assert S3Bucket(s3, "data").head(Drop(old.key, old.etag, old.size), 9) is None

    def test_a_deleted_object_is_gone(self, s3: Any) -> None:
        drop = put(s3, "raw/a.csv")
        s3.delete_object(Bucket="data", Key=drop.key)
        assert S3Bucket(s3, "data").head(Drop(drop.key, drop.etag, drop.size), 9) is None

    def test_a_deleted_version_is_gone(self, s3: Any) -> None:
        drop = put(s3, "raw/a.csv")
        s3.delete_object(Bucket="data", Key=drop.key, VersionId=drop.version_id)
        assert S3Bucket(s3, "data").head(drop, 9) is None

    def test_a_bucket_that_is_not_there_is_an_error_and_no_lost_drop(self, s3: Any) -> None:
        drop = put(s3, "raw/a.csv")
        with pytest.raises(s3.exceptions.NoSuchBucket):
            S3Bucket(s3, "another").head(drop, 9)


class TestPresent:
    def test_the_default_dataset_is_what_lies_directly_in_raw(self, s3: Any) -> None:
        for key in ("raw/a.csv", "raw/default/b.csv", "raw//c.csv", "raw/films/d.csv", "models/e.csv"):
            put(s3, key)
        assert {key for key, _ in S3Bucket(s3, "data").present("default")} == {
            "raw/a.csv",
            "raw/default/b.csv",
            "raw//c.csv",
        }

    def test_a_dataset_is_no_prefix_of_another(self, s3: Any) -> None:
        put(s3, "raw/films/a.csv")
        put(s3, "raw/films-old/a.csv")
        assert [key for key, _ in S3Bucket(s3, "data").present("films")] == ["raw/films/a.csv"]

    @pytest.mark.parametrize("key", ODD)
    def test_keys_come_back_raw_with_their_content(self, s3: Any, key: str) -> None:
        drop = put(s3, key)
        assert (drop.key, drop.etag) in set(S3Bucket(s3, "data").present(drop.dataset))

    def test_deleted_and_replaced_objects_are_not_present(self, s3: Any) -> None:
        old, gone = put(s3, "raw/a.csv", b"old"), put(s3, "raw/b.csv")
        new = put(s3, "raw/a.csv", b"new")
        s3.delete_object(Bucket="data", Key=gone.key)
        assert set(S3Bucket(s3, "data").present("default")) == {(new.key, new.etag)}
        assert old.etag != new.etag

    def test_more_objects_than_a_page_holds(self, s3: Any) -> None:
        for number in range(5):
            put(s3, f"raw/films/{number}.csv")
        s3.meta.events.register("provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 2})
        assert len(set(S3Bucket(s3, "data").present("films"))) == 5


def test_a_report_page_shows_what_people_wrote_and_runs_none_of_it(s3: Any) -> None:
    drop = Drop("raw/<script>alert(1)</script>.csv", "e", 12345)
    finding = Finding("encoding", "The file is not UTF-8.", row=3, sample="<img onerror=x>")
    told = S3Bucket(s3, "data").quarantine(drop, finding, NOON)
    assert (told.drop_id, told.key, told.sentence) == (drop.drop_id, drop.key, "The file is not UTF-8.")
    answer = s3.get_object(Bucket="data", Key=f"quarantine/{drop.drop_id}/report.html")
    page = answer["Body"].read().decode()
    assert answer["ContentType"] == "text/html; charset=utf-8"
    assert "<script>" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "12,345 bytes" in page


def test_a_spec_comes_back(s3: Any) -> None:
    bucket = S3Bucket(s3, "data")
    bucket.write_spec("films-1", {"dataset": "größe"})
    assert bucket.read_spec("films-1") == {"dataset": "größe"}


def test_what_the_trainer_writes_is_read(s3: Any) -> None:
    bucket = S3Bucket(s3, "data")
    assert (bucket.manifest("m"), bucket.is_published("m")) == (None, False)
    assert bucket.sha256_of("m", "metrics.json") is None
    assert bucket.outcome("m", 1) is None
    s3.put_object(Bucket="data", Key="models/m/manifest.json", Body=b'{"contract": 1}')
    s3.put_object(Bucket="data", Key="models/m/metrics.json", Body=b"")
    s3.put_object(
        Bucket="data",
        Key="logs/m/2/outcome.json",
        Body=json.dumps({"contract": 1, "outcome": "failed", "reason": "No."}).encode(),
    )
    assert bucket.manifest("m") == {"contract": 1}
    assert bucket.is_published("m")
    assert bucket.sha256_of("m", "metrics.json") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert bucket.outcome("m", 2) == Outcome("failed", "No.")
    for body in (b"No.", b"[]", b'{"outcome": "failed"}', b'{"outcome": "failed", "reason": null}', b"\xff"):
        s3.put_object(Bucket="data", Key="logs/m/3/outcome.json", Body=body)
        assert bucket.outcome("m", 3) is None, "a trainer of somebody else wrote it: the machine ended without a word"
    assert bucket.outcome("m", 1) is None


def test_a_manifest_that_is_no_json_is_a_bad_manifest(s3: Any) -> None:
    s3.put_object(Bucket="data", Key="models/m/manifest.json", Body=b"not json")
    with pytest.raises(BadManifest, match="not JSON"):
        S3Bucket(s3, "data").manifest("m")


class TestTheDatasetsOwnSettings:
    def test_what_lies_there_now_is_read(self, s3: Any) -> None:
        bucket = S3Bucket(s3, "data")
        assert bucket.config("films", 99) is None
        put(s3, "raw/films/tidegate.yaml", b"recipe: linear\n")
        assert bucket.config("films", 99) == b"recipe: linear\n"
        assert bucket.config("films", 6) == b"recipe"

    def test_the_default_datasets_lie_in_raw(self, s3: Any) -> None:
        put(s3, "raw/tidegate.yaml", b"recipe: linear\n")
        assert S3Bucket(s3, "data").config("default", 99) == b"recipe: linear\n"
        assert S3Bucket(s3, "data").config("films", 99) is None

    def test_an_empty_file_is_empty(self, s3: Any) -> None:
        put(s3, "raw/films/tidegate.yaml", b"")
        assert S3Bucket(s3, "data").config("films", 99) == b""

    def test_one_that_is_refused_gets_advice_of_its_own(self, s3: Any) -> None:
        drop = put(s3, "raw/films/tidegate.yaml", b"recipie: linear\n")
        S3Bucket(s3, "data").quarantine(drop, Finding("config", "Nobody knows the key."), NOON)
        told = json.loads(s3.get_object(Bucket="data", Key=f"quarantine/{drop.drop_id}/report.json")["Body"].read())
        assert told["what_to_do"].startswith("Mend tidegate.yaml")


class TestTheRunCard:
    def test_all_that_lies_there_for_the_run_is_found_and_nothing_of_another(self, s3: Any) -> None:
        theirs = ["logs/films-12/1/train.log", "runs/films-12/spec.json"]
        ours = ["logs/films-1/1/plots/loss.png", "models/films-1/manifest.json", "processed/films-1/profile.json"]
        for key in (*theirs, *ours):
            put(s3, key)
        assert sorted(S3Bucket(s3, "data").keys_of("films-1")) == ours

    def test_it_is_written_as_json_and_as_a_page(self, s3: Any) -> None:
        S3Bucket(s3, "data").write_card("films-1", {"state": "FAILED"}, "<p>größe")
        page = s3.get_object(Bucket="data", Key="runs/films-1/card.html")
        assert page["ContentType"] == "text/html; charset=utf-8"
        assert page["Body"].read().decode() == "<p>größe"
        told = s3.get_object(Bucket="data", Key="runs/films-1/card.json")["Body"].read()
        assert json.loads(told) == {"state": "FAILED"}


class TestAGoldenSet:
    ROWS = b'[{"text": "a warm film", "label": "pos"}]'

    def published(self, s3: Any, named: bytes | None) -> S3Bucket:
        files = {} if named is None else {"golden.json": {"sha256": hashlib.sha256(named).hexdigest(), "bytes": 1}}
        s3.put_object(Bucket="data", Key="models/r/manifest.json", Body=json.dumps({"files": files}).encode())
        return S3Bucket(s3, "data")

    def test_is_the_one_that_the_manifest_names(self, s3: Any) -> None:
        s3.put_object(Bucket="data", Key="models/r/golden.json", Body=self.ROWS)
        assert self.published(s3, self.ROWS).golden("r") == (GoldenRow("a warm film", "pos"),)

    def test_that_was_changed_is_not_read(self, s3: Any) -> None:
        s3.put_object(Bucket="data", Key="models/r/golden.json", Body=self.ROWS.replace(b"pos", b"neg"))
        with pytest.raises(ChangedGoldenSet, match="its sha256 is [0-9a-f]{64}, the manifest says [0-9a-f]{64}"):
            self.published(s3, self.ROWS).golden("r")

    def test_that_is_gone_is_told_so(self, s3: Any) -> None:
        with pytest.raises(ChangedGoldenSet, match="gone"):
            self.published(s3, self.ROWS).golden("r")

    def test_that_no_manifest_names_proves_nothing(self, s3: Any) -> None:
        s3.put_object(Bucket="data", Key="models/r/golden.json", Body=self.ROWS)
        with pytest.raises(ChangedGoldenSet, match="the manifest says nothing of it"):
            self.published(s3, None).golden("r")
        s3.put_object(Bucket="data", Key="models/r/manifest.json", Body=b"{")
        with pytest.raises(ChangedGoldenSet):
            S3Bucket(s3, "data").golden("r")

    def test_of_a_model_without_one_is_empty(self, s3: Any) -> None:
        assert self.published(s3, None).golden("r") == ()
