"""Where a model's files come from: S3, or a folder. Everything stays in memory, so the root may be read-only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from inference.problems import ModelFault

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MEANINGS = {
    "NoSuchKey": "it is not there. Publish the model again, or name another one",
    "404": "it is not there. Publish the model again, or name another one",
    "NoSuchBucket": "the bucket does not exist. Check MODEL_URI",
    "AccessDenied": "access is denied. Give the task role s3:GetObject on models/*",
    "403": "access is denied. Give the task role s3:GetObject on models/*",
}


class Source(Protocol):
    """The files of one model."""

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises ModelFault when they cannot be had."""


class Folder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as fault:
            raise ModelFault(f"{self.folder / name} cannot be read: {fault.strerror}") from fault


class Bucket:
    def __init__(self, client: S3Client, bucket: str, prefix: str) -> None:
        self.client = client
        self.bucket = bucket
        self.prefix = prefix

    def read(self, name: str) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError

        key = f"{self.prefix}{name}"
        try:
            return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as fault:
            code = fault.response["Error"].get("Code", "unknown")
            meaning = MEANINGS.get(code, f"S3 answered {code}. Try again, or look at the bucket")
        except BotoCoreError as fault:
            meaning = f"{fault} Check the network, the endpoint and the task role".replace("\n", " ")
        raise ModelFault(f"s3://{self.bucket}/{key} cannot be read: {meaning}")


def open_source(uri: str) -> Source:
    """The source that a MODEL_URI names."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Folder(Path(unquote(parts.path)))
    # Importing the SDK takes a quarter of a second, and a folder does not need it.
    import boto3
    from botocore.config import Config

    patient = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 4})
    # Not urlsplit: an object's key may hold '?' and '#'.
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    return Bucket(boto3.client("s3", config=patient), bucket, prefix.rstrip("/") + "/")
