"""Reading from the bucket when the connection breaks."""

from __future__ import annotations

import io
from typing import Any

import pytest
from botocore.exceptions import ResponseStreamingError

from tests.trainer.bench import BUCKET, Bench
from trainer.store import S3Store


class Torn:
    """A body whose connection breaks."""

    def read(self) -> bytes:
        raise ResponseStreamingError(error="reset")


class Flaky:
    """An S3 client whose every answer is torn a few times before it comes."""

    def __init__(self, real: Any, times: int) -> None:
        self.real, self.times, self.torn = real, times, 0

    def get_object(self, **request: Any) -> Any:
        answer = self.real.get_object(**request)
        if self.torn < self.times:
            self.torn += 1
            return answer | {"Body": Torn()}
        self.torn = 0
        return answer


def test_a_broken_connection_goes_on_where_it_broke(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.store.PART_BYTES", 1_000)
    body = bytes(range(256)) * 20
    drop = bench.drop("raw/a.csv", body)
    client: Any = Flaky(bench.s3, 2)
    stream = S3Store(BUCKET, client).open_exact(drop["key"], drop["version_id"], drop["etag"], drop["bytes"])
    assert stream.read() == body


def test_a_connection_that_stays_broken_is_a_defect_not_a_short_file(bench: Bench) -> None:
    drop = bench.drop("raw/a.csv", b"text,label\n")
    client: Any = Flaky(bench.s3, 99)
    stream = S3Store(BUCKET, client).open_exact(drop["key"], drop["version_id"], drop["etag"], drop["bytes"])
    with pytest.raises(ResponseStreamingError):
        io.TextIOWrapper(stream).read()


def test_an_object_without_a_version_is_read_by_its_etag(bench: Bench) -> None:
    drop = bench.drop("raw/a.csv", b"text,label\n")
    assert bench.store.open_exact(drop["key"], None, drop["etag"], drop["bytes"]).read() == b"text,label\n"
