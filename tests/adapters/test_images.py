"""ECR as the control plane reads it: what lies there, what it is, and when it does not answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from controlplane.adapters.ecr_images import EcrImages
from controlplane.domain.images import Push
from controlplane.ports import TryAgain

from tests.flows.fakes import NOON

Stubs = Callable[[str], tuple[Any, Stubber]]
DIGEST = "sha256:" + "a" * 64
OCI = "application/vnd.oci.image.manifest.v1+json"
CONFIG = json.dumps({"os": "linux", "architecture": "amd64"}).encode()
CONFIG_DIGEST = "sha256:" + hashlib.sha256(CONFIG).hexdigest()


def put(aws: Any, manifest: dict[str, Any], kind: str = OCI) -> str:
    ecr = aws("ecr")
    ecr.create_repository(repositoryName="inference")
    told = ecr.put_image(
        repositoryName="inference", imageManifest=json.dumps(manifest), imageManifestMediaType=kind, imageTag="v1"
    )
    return str(told["image"]["imageId"]["imageDigest"])


def test_images_come_newest_first_with_each_of_their_tags(stubbed: Stubs) -> None:
    def image(number: int, *tags: str) -> dict[str, Any]:
        at = NOON + timedelta(days=number)
        return {"imageDigest": f"sha256:{number}", "imageTags": list(tags), "imagePushedAt": at}

    ecr, stub = stubbed("ecr")
    asked = {"repositoryName": "inference", "filter": {"tagStatus": "TAGGED"}}
    stub.add_response("describe_images", {"imageDetails": [image(1, "v1")], "nextToken": "more"}, asked)
    stub.add_response(
        "describe_images", {"imageDetails": [image(3, "v3", "v3.0"), image(2, "v2")]}, {**asked, "nextToken": "more"}
    )
    assert EcrImages(ecr, "inference").pushed() == [
        Push("inference", "sha256:3", "v3"),
        Push("inference", "sha256:3", "v3.0"),
        Push("inference", "sha256:2", "v2"),
        Push("inference", "sha256:1", "v1"),
    ]


def test_a_manifest_is_read_as_it_was_pushed_with_the_type_that_ecr_knows(aws: Any) -> None:
    digest = put(aws, {"schemaVersion": 2, "config": {"digest": CONFIG_DIGEST}})
    manifest = EcrImages(aws("ecr"), "inference").manifest(digest)
    assert manifest == {"mediaType": OCI, "schemaVersion": 2, "config": {"digest": CONFIG_DIGEST}}


def test_an_image_that_is_not_there_has_no_manifest(aws: Any) -> None:
    put(aws, {"schemaVersion": 2})
    assert EcrImages(aws("ecr"), "inference").manifest(DIGEST) is None


def test_a_failure_of_another_kind_is_no_word_about_the_image(stubbed: Stubs) -> None:
    ecr, stub = stubbed("ecr")
    failure = {"failureCode": "UpstreamUnavailable", "failureReason": "later"}
    stub.add_response("batch_get_image", {"images": [], "failures": [failure]})
    with pytest.raises(TryAgain, match="UpstreamUnavailable"):
        EcrImages(ecr, "inference").manifest(DIGEST)


@pytest.mark.parametrize("code", ["ServerException", "ThrottlingException"])
def test_while_ecr_does_not_answer_it_is_asked_again(stubbed: Stubs, code: str) -> None:
    ecr, stub = stubbed("ecr")
    stub.add_client_error("batch_get_image", code)
    stub.add_client_error("get_download_url_for_layer", code)
    images = EcrImages(ecr, "inference")
    with pytest.raises(TryAgain):
        images.manifest(DIGEST)
    with pytest.raises(TryAgain):
        images.config(CONFIG_DIGEST)


def test_a_refusal_for_good_leaves_as_what_it_is(stubbed: Stubs) -> None:
    ecr, stub = stubbed("ecr")
    stub.add_client_error("batch_get_image", "AccessDeniedException")
    with pytest.raises(ClientError, match="AccessDenied"):
        EcrImages(ecr, "inference").manifest(DIGEST)


class TestAConfig:
    @staticmethod
    def read(stubbed: Stubs, fetch: Callable[[str], bytes]) -> Any:
        ecr, stub = stubbed("ecr")
        place = {"downloadUrl": "https://somewhere/layer", "layerDigest": CONFIG_DIGEST}
        asked = {"repositoryName": "inference", "layerDigest": CONFIG_DIGEST}
        stub.add_response("get_download_url_for_layer", place, asked)
        return EcrImages(ecr, "inference", fetch).config(CONFIG_DIGEST)

    def test_is_fetched_from_where_ecr_says(self, stubbed: Stubs) -> None:
        assert self.read(stubbed, {"https://somewhere/layer": CONFIG}.__getitem__)["architecture"] == "amd64"

    def test_with_another_digest_is_not_believed(self, stubbed: Stubs) -> None:
        with pytest.raises(TryAgain, match="something else"):
            self.read(stubbed, lambda _: b"{}")

    def test_that_cannot_be_fetched_now_is_fetched_again(self, stubbed: Stubs) -> None:
        def fetch(_: str) -> bytes:
            raise TimeoutError("the read timed out")

        with pytest.raises(TryAgain, match="timed out"):
            self.read(stubbed, fetch)
