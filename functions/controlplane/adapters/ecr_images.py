"""Images in the stack's ECR repository."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..domain.images import Push

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient

LONG_AGO = datetime.fromtimestamp(0, UTC)


class EcrImages:
    def __init__(self, ecr: ECRClient, repository: str) -> None:
        self._ecr, self._repository = ecr, repository

    def pushed(self) -> Sequence[Push]:
        pages = self._ecr.get_paginator("describe_images").paginate(
            repositoryName=self._repository, filter={"tagStatus": "TAGGED"}
        )
        images = [image for page in pages for image in page["imageDetails"]]
        images.sort(key=lambda image: image.get("imagePushedAt", LONG_AGO), reverse=True)
        return [Push(self._repository, image["imageDigest"], tag) for image in images for tag in image["imageTags"]]
