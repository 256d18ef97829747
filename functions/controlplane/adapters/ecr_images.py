"""Images in the stack's ECR repository: which there are, and what they are.

docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html, API_GetDownloadUrlForLayer.html
"""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from ..domain.images import INDEXES, MANIFESTS, Push
from ..ports import TryAgain

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient

LONG_AGO = datetime.fromtimestamp(0, UTC)
SECONDS = 10
LARGEST = 4 * 1024 * 1024  # bytes; a config blob has some thousand
PASSING = {"ServerException", "ThrottlingException", "LimitExceededException", "RequestTimeout", "ServiceUnavailable"}


def download(url: str) -> bytes:
    """At most LARGEST bytes. Raises OSError."""
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310  ECR's own https address
        return bytes(answer.read(LARGEST + 1))


class EcrImages:
    def __init__(self, ecr: ECRClient, repository: str, fetch: Callable[[str], bytes] = download) -> None:
        self._ecr, self._repository, self._fetch = ecr, repository, fetch

    def pushed(self) -> Sequence[Push]:
        pages = self._ecr.get_paginator("describe_images").paginate(
            repositoryName=self._repository, filter={"tagStatus": "TAGGED"}
        )
        images = [image for page in pages for image in page["imageDetails"]]
        images.sort(key=lambda image: image.get("imagePushedAt", LONG_AGO), reverse=True)
        return [
            Push(
                self._repository,
                image["imageDigest"],
                tag,
                image.get("imageManifestMediaType", ""),
                image.get("artifactMediaType", ""),
            )
            for image in images
            for tag in image["imageTags"]
        ]

    def manifest(self, digest: str) -> Mapping[str, Any] | None:
        told = self._asked(
            lambda: self._ecr.batch_get_image(
                repositoryName=self._repository,
                imageIds=[{"imageDigest": digest}],
                acceptedMediaTypes=sorted(MANIFESTS | INDEXES),
            )
        )
        if told["images"]:
            manifest: dict[str, Any] = json.loads(told["images"][0]["imageManifest"])
            return {"mediaType": told["images"][0].get("imageManifestMediaType", ""), **manifest}
        codes = {failure.get("failureCode", "") for failure in told.get("failures", [])}
        if codes <= {"ImageNotFound"}:
            return None
        raise TryAgain(f"ECR does not give the manifest of {digest}: {', '.join(sorted(codes))}")

    def config(self, digest: str) -> Mapping[str, Any]:
        place = self._asked(
            lambda: self._ecr.get_download_url_for_layer(repositoryName=self._repository, layerDigest=digest)
        )
        try:
            blob = self._fetch(place["downloadUrl"])
        except OSError as fault:
            raise TryAgain(f"ECR does not give the config {digest}: {fault}") from fault
        if f"sha256:{hashlib.sha256(blob).hexdigest()}" != digest:
            raise TryAgain(f"ECR gave something else than the config {digest}")
        config: dict[str, Any] = json.loads(blob)
        return config

    def _asked(self, call: Callable[[], Any]) -> Any:
        """Raises TryAgain when ECR does not answer now; what it refuses for good is left to leave."""
        try:
            return call()
        except BotoCoreError as fault:
            raise TryAgain(f"ECR does not answer: {fault}") from fault
        except ClientError as fault:
            if fault.response["Error"]["Code"] in PASSING:
                raise TryAgain(f"ECR does not answer: {fault}") from fault
            raise
