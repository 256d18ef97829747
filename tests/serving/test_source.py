"""A model's files come from S3 or from a folder, and what goes wrong there is a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import boto3
import pytest
from inference.model import setup
from inference.problems import ModelFault
from inference.source import Bucket, open_source
from moto import mock_aws
from mypy_boto3_s3 import S3Client

from tests.serving.conftest import s3_client
from tests.serving.tiny_model import RUN

PREFIX = f"models/{RUN}/"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, model_folder: Path) -> Iterator[S3Client]:
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="tidegate")
        for file in model_folder.iterdir():
            client.upload_file(str(file), "tidegate", f"{PREFIX}{file.name}")
        yield client


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("end", ["/", ""])
def test_a_model_is_loaded_from_s3(end: str) -> None:
    assert setup(open_source(f"s3://tidegate/models/{RUN}{end}"), RUN).answer(["great"])[0]["label"] == "positive"


def test_a_model_is_loaded_from_a_folder_with_a_space_in_its_name(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "my model"
    folder.symlink_to(model_folder)
    assert setup(open_source(folder.as_uri())).run_id == RUN


def test_a_missing_file_is_named_with_its_address(s3: S3Client) -> None:
    s3.delete_object(Bucket="tidegate", Key=f"{PREFIX}vocabulary.txt")
    with pytest.raises(ModelFault, match=rf"s3://tidegate/{PREFIX}vocabulary\.txt cannot be read: it is not there"):
        setup(open_source(f"s3://tidegate/{PREFIX}"))


@pytest.mark.usefixtures("s3")
def test_a_missing_bucket_is_named() -> None:
    with pytest.raises(ModelFault, match=r"s3://nowhere/.* the bucket does not exist"):
        setup(open_source("s3://nowhere/models/x/"))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match=r"absent/manifest\.json cannot be read: No such file"):
        setup(open_source((tmp_path / "absent").as_uri()))


def test_an_endpoint_that_does_not_answer_is_a_sentence() -> None:
    closed = s3_client("http://127.0.0.1:1")
    with pytest.raises(ModelFault, match=r"Could not connect to the endpoint URL.*Check the network"):
        Bucket(closed, "tidegate", PREFIX).read("manifest.json")


class Forbidding(BaseHTTPRequestHandler):
    """S3 as a task without the permission sees it."""

    def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_access_that_is_denied_says_what_to_allow() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Forbidding) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        client = s3_client(f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(ModelFault, match=r"access is denied\. Give the task role s3:GetObject"):
            Bucket(client, "tidegate", PREFIX).read("manifest.json")
        client.close()
        server.shutdown()
