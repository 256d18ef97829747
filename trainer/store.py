"""The bucket, and nothing else of AWS. Another kind of storage needs these methods and no more.

The promise: an object of a snapshot is read exactly as it was recorded (version, etag, size), in bounded memory, and a
broken connection goes on where it broke.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, ResponseStreamingError

from trainer.errors import Failed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from mypy_boto3_s3 import S3Client

PART_BYTES = 8 * 1024 * 1024
READ_TRIES = 5
IN_ONE_PIECE = 32 * 1024 * 1024
_GONE = {"NoSuchKey", "NoSuchVersion", "404", "MethodNotAllowed"}


class Store(Protocol):
    """Where a run's things are kept, by key. Only `S3Store` knows AWS."""

    def exists(self, key: str) -> bool: ...

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises KeyError when there is none."""

    def get_json(self, key: str) -> Any:
        """The object as JSON. Raises KeyError when there is none, ValueError when it is no JSON."""

    def download(self, key: str, path: Path) -> None:
        """The object as a file. Raises KeyError when there is none."""

    def put(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        """All of it or nothing: a reader never sees half an object."""

    def put_json(self, key: str, value: object) -> None: ...

    def upload(self, key: str, path: Path) -> None: ...

    def keys(self, prefix: str) -> list[str]:
        """In order."""

    def delete(self, keys: list[str]) -> None:
        """One after the other, in the order given; what is not there is no fault."""

    def open_exact(self, key: str, version_id: str | None, etag: str, size: int) -> io.BufferedReader:
        """The object as it was when the snapshot was taken; its `raw.tell()` says how many of its bytes were read.

        Raises Failed when it is not that any more.
        """


class S3Store:
    def __init__(self, bucket: str, client: S3Client | None = None) -> None:
        self.bucket = bucket
        settings = Config(retries={"mode": "standard", "max_attempts": 6}, connect_timeout=10, read_timeout=60)
        self._s3: S3Client = client or boto3.client("s3", config=settings)

    def exists(self, key: str) -> bool:
        try:
            self._s3.head_object(Bucket=self.bucket, Key=key)
        except ClientError as fault:
            if fault.response["Error"]["Code"] in _GONE:
                return False
            raise
        return True

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises KeyError when there is none."""
        try:
            return self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as fault:
            if fault.response["Error"]["Code"] in _GONE:
                raise KeyError(key) from fault
            raise

    def get_json(self, key: str) -> Any:
        return json.loads(self.get(key))

    def download(self, key: str, path: Path) -> None:
        """The object as a file. Raises KeyError when there is none."""
        try:
            self._s3.download_file(self.bucket, key, str(path))
        except ClientError as fault:
            if fault.response["Error"]["Code"] in _GONE:
                raise KeyError(key) from fault
            raise

    def put(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        if len(body) <= IN_ONE_PIECE:
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)
        else:  # in parts, several at a time; the object is there when all are
            self._s3.upload_fileobj(io.BytesIO(body), self.bucket, key, ExtraArgs={"ContentType": content_type})

    def put_json(self, key: str, value: object) -> None:
        body = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False).encode()
        self.put(key, body, "application/json; charset=utf-8")

    def upload(self, key: str, path: Path) -> None:
        kind = _CONTENT_TYPES.get(path.suffix, "application/octet-stream")
        self._s3.upload_file(str(path), self.bucket, key, ExtraArgs={"ContentType": kind})

    def keys(self, prefix: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return sorted(found["Key"] for page in pages for found in page.get("Contents", []))

    def delete(self, keys: list[str]) -> None:
        for key in keys:
            self._s3.delete_object(Bucket=self.bucket, Key=key)

    def open_exact(self, key: str, version_id: str | None, etag: str, size: int) -> io.BufferedReader:
        return io.BufferedReader(_ExactObject(self._s3, self.bucket, key, version_id, etag, size), PART_BYTES)


class _ExactObject(io.RawIOBase):
    """One version of one object, part by part."""

    def __init__(self, s3: S3Client, bucket: str, key: str, version_id: str | None, etag: str, size: int) -> None:
        self._s3, self._etag, self._size, self._at = s3, etag.strip('"'), size, 0
        self._object: dict[str, str] = {"Bucket": bucket, "Key": key}
        if version_id is not None:
            self._object["VersionId"] = version_id
        self._part = memoryview(b"")

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        """How many bytes have come so far."""
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        if not self._part and self._at < self._size:
            self._part = memoryview(self._next_part())
            self._at += len(self._part)
        taken = min(len(target), len(self._part))
        target[:taken] = self._part[:taken]
        self._part = self._part[taken:]
        return taken

    def _next_part(self) -> bytes:
        last = min(self._at + PART_BYTES, self._size) - 1
        for tries_left in reversed(range(READ_TRIES)):
            try:
                answer = self._s3.get_object(**{**self._object, "Range": f"bytes={self._at}-{last}"})  # type: ignore[arg-type]
                size = int(answer.get("ContentRange", f"/{answer['ContentLength']}").rpartition("/")[2])
                if answer["ETag"].strip('"') != self._etag or size != self._size:
                    raise Failed(f"{self._name} is not the one of the snapshot: its etag or its size has changed.")
                return answer["Body"].read()
            except ClientError as fault:
                raise self._as_failed(fault) from fault
            except (HTTPClientError, ResponseStreamingError):
                if not tries_left:
                    raise
        raise AssertionError("unreachable: the last try returns or raises")

    def _as_failed(self, fault: ClientError) -> Exception:
        match fault.response["Error"]["Code"]:
            case "InvalidObjectState":
                return Failed(f"{self._name} lies in Glacier: restore it, then retrain.")
            case "InvalidRange":
                return Failed(f"{self._name} is not the one of the snapshot: it has become shorter.")
            case code if code in _GONE:
                return Failed(f"{self._name} is not in the bucket any more: drop it again, or retrain without it.")
            case _:
                return fault

    @property
    def _name(self) -> str:
        return f"{self._object['Key']} (version {self._object.get('VersionId', 'none')})"


_CONTENT_TYPES = {
    ".json": "application/json; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".log": "text/plain; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".png": "image/png",
    ".parquet": "application/vnd.apache.parquet",
}
