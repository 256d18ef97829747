"""The data bucket on S3."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ..domain.batches import RefusedDrop
from ..domain.config import FILE_NAME
from ..domain.drops import Drop, Finding
from ..domain.models import BadManifest
from ..domain.probes import ChangedGoldenSet, GoldenRow, golden_rows
from ..domain.runs import Outcome

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

GONE = {"NoSuchKey", "NoSuchVersion", "404", "PreconditionFailed", "412"}


class S3Bucket:
    def __init__(self, s3: S3Client, bucket: str) -> None:
        self._s3, self._bucket = s3, bucket

    def head(self, drop: Drop, size: int) -> bytes | None:
        if drop.size == 0:
            return b""
        version = {"VersionId": drop.version_id} if drop.version_id else {}
        try:
            reply = self._s3.get_object(
                Bucket=self._bucket,
                Key=drop.key,
                Range=f"bytes=0-{size - 1}",
                IfMatch=f'"{drop.etag}"',
                **version,  # type: ignore[arg-type]
            )
        except ClientError as fault:
            if fault.response["Error"]["Code"] in GONE:
                return None
            raise
        return reply["Body"].read()

    def present(self, dataset: str) -> Iterable[tuple[str, str]]:
        places = [(f"raw/{dataset}/", "")]
        if dataset == "default":
            places += [("raw/", "/"), ("raw//", "")]
        lister = self._s3.get_paginator("list_objects_v2")
        for prefix, delimiter in places:
            for page in lister.paginate(Bucket=self._bucket, Prefix=prefix, Delimiter=delimiter):
                for item in page.get("Contents", []):
                    yield item["Key"], item["ETag"].strip('"')

    def config(self, dataset: str, size: int) -> bytes | None:
        places = [f"raw/{dataset}/{FILE_NAME}", *([f"raw/{FILE_NAME}"] if dataset == "default" else [])]
        for key in places:
            try:
                return self._s3.get_object(Bucket=self._bucket, Key=key, Range=f"bytes=0-{size - 1}")["Body"].read()
            except ClientError as fault:
                if fault.response["Error"]["Code"] == "InvalidRange":
                    return b""
                if fault.response["Error"]["Code"] not in GONE:
                    raise
        return None

    def quarantine(self, drop: Drop, finding: Finding, at: datetime) -> RefusedDrop:
        report = {
            "contract": 1,
            "drop_id": drop.drop_id,
            "key": drop.key,
            "dataset": drop.dataset,
            "bytes": drop.size,
            "etag": drop.etag,
            "what_to_do": drop.what_to_do,
            "at": at.isoformat(),
            "findings": [
                {
                    "rule": finding.rule,
                    "sentence": finding.sentence,
                    "row": finding.row,
                    "column": finding.column,
                    "sample": finding.sample,
                }
            ],
        }
        folder = f"quarantine/{drop.drop_id}"
        self._put_json(f"{folder}/report.json", report)
        self._s3.put_object(
            Bucket=self._bucket,
            Key=f"{folder}/report.html",
            Body=report_page(report).encode(),
            ContentType="text/html; charset=utf-8",
        )
        return RefusedDrop(drop.drop_id, drop.key, finding.sentence)

    def write_spec(self, run_id: str, spec: Mapping[str, Any]) -> None:
        self._put_json(f"runs/{run_id}/spec.json", spec)

    def read_spec(self, run_id: str) -> dict[str, Any]:
        return json.loads(self._read(f"runs/{run_id}/spec.json") or b"{}")  # type: ignore[no-any-return]

    def manifest(self, run_id: str) -> dict[str, Any] | None:
        body = self._read(f"models/{run_id}/manifest.json")
        try:
            return None if body is None else json.loads(body)
        except ValueError as fault:
            raise BadManifest(f"the manifest is not JSON: {fault}") from fault

    def is_published(self, run_id: str) -> bool:
        return self._read(f"models/{run_id}/manifest.json") is not None

    def sha256_of(self, run_id: str, path: str) -> str | None:
        body = self._read(f"models/{run_id}/{path}")
        return None if body is None else hashlib.sha256(body).hexdigest()

    def outcome(self, run_id: str, attempt: int) -> Outcome | None:
        body = self._read(f"logs/{run_id}/{attempt}/outcome.json")
        if body is None:
            return None
        try:
            told = json.loads(body)
            outcome = Outcome(told["outcome"], told["reason"], told.get("cause"), told.get("step"))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        words = (outcome.outcome, outcome.reason, outcome.cause or "")
        return outcome if all(isinstance(word, str) for word in words) else None

    def golden(self, run_id: str) -> tuple[GoldenRow, ...]:
        body, wanted = self._read(f"models/{run_id}/golden.json"), self._named(run_id, "golden.json")
        found = None if body is None else hashlib.sha256(body).hexdigest()
        if found != wanted:
            is_, says = found or "none, for it is gone", wanted or "nothing of it"
            raise ChangedGoldenSet(
                f"golden.json of model {run_id} is not the file that the trainer published: its sha256 is {is_}, "
                f"the manifest says {says}"
            )
        try:
            return () if body is None else golden_rows(json.loads(body))
        except ValueError:
            return ()

    def _named(self, run_id: str, path: str) -> str | None:
        """The sha256 that the manifest names for a file of the model."""
        try:
            return str((self.manifest(run_id) or {})["files"][path]["sha256"])
        except (BadManifest, KeyError, TypeError):
            return None

    def keys_of(self, run_id: str) -> Sequence[str]:
        lister = self._s3.get_paginator("list_objects_v2")
        return [
            item["Key"]
            for place in ("runs", "models", "processed", "logs")
            for page in lister.paginate(Bucket=self._bucket, Prefix=f"{place}/{run_id}/")
            for item in page.get("Contents", [])
        ]

    def write_card(self, run_id: str, card: Mapping[str, Any], page: str) -> None:
        self._put_json(f"runs/{run_id}/card.json", card)
        self._s3.put_object(
            Bucket=self._bucket,
            Key=f"runs/{run_id}/card.html",
            Body=page.encode(),
            ContentType="text/html; charset=utf-8",
        )

    def _read(self, key: str) -> bytes | None:
        try:
            return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as fault:
            if fault.response["Error"]["Code"] in GONE:
                return None
            raise

    def _put_json(self, key: str, document: Mapping[str, Any]) -> None:
        body = json.dumps(document, ensure_ascii=False, indent=1).encode()
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType="application/json")


def report_page(report: Mapping[str, Any]) -> str:
    """The quarantine report as a page that stands alone; everything that people wrote is escaped."""

    def cell(value: object) -> str:
        return f"<td>{html.escape('' if value is None else str(value))}</td>"

    rows = "".join(
        "<tr>" + "".join(cell(finding[name]) for name in ("rule", "sentence", "row", "column", "sample")) + "</tr>"
        for finding in report["findings"]
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Refused: {html.escape(report["key"])}</title>
<style>
body{{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}}
table{{border-collapse:collapse}}
td,th{{border:1px solid #888;padding:.3rem .6rem;text-align:left;vertical-align:top}}
code{{overflow-wrap:anywhere}}</style>
<h1>This file cannot be trained on</h1>
<p><code>{html.escape(report["key"])}</code>, {report["bytes"]:,} bytes, dataset {html.escape(report["dataset"])},
looked at {html.escape(report["at"])}</p>
<table><tr><th>Rule</th><th>What is wrong</th><th>Row</th><th>Column</th><th>Sample</th></tr>{rows}</table>
<h2>What to do</h2><p>{html.escape(report["what_to_do"])} The file was left where it is.</p></html>
"""
