"""What was added to the emulator's ECR: layers to be had, artifacts by their type, scans and what they found."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from controlplane.adapters.ecr_images import EcrImages

from local import scans
from local.aws import Aws
from local.engine.environment import architecture
from local.engine.registry import connect
from local.images import File, assemble, publish
from local.processes import wait_until
from local.scans import BadFinding, Finding, Scanned

Findings = Callable[..., None]


@pytest.fixture
def repository(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    name = f"r-{uuid.uuid4().hex[:8]}"
    aws.client("ecr").create_repository(repositoryName=name, imageScanningConfiguration={"scanOnPush": True})
    return name


@pytest.fixture
def findings(emulator_state: Path) -> Iterator[Findings]:
    yield lambda *scanned: scans.write(emulator_state, scanned)
    scans.write(emulator_state, [])


def pushed(aws: Aws, repository: str, tag: str = "v1") -> str:
    built = assemble({"app/x": File(uuid.uuid4().bytes)}, {}, "a test")
    return publish(built, repository, tag, endpoint=aws.endpoint, region=aws.region)


def verdict(aws: Aws, repository: str, digest: str) -> Any:
    def told() -> Any:
        return aws.client("ecr").describe_image_scan_findings(
            repositoryName=repository, imageId={"imageDigest": digest}
        )

    wait_until(lambda: told()["imageScanStatus"]["status"] != "IN_PROGRESS", 10, "The verdict")
    return told()


def test_the_config_of_a_pushed_image_can_be_read_as_the_control_plane_reads_it(aws: Aws, repository: str) -> None:
    digest = pushed(aws, repository)
    images = EcrImages(aws.client("ecr"), repository)
    manifest = images.manifest(digest)
    assert manifest
    assert images.config(manifest["config"]["digest"])["architecture"] == architecture()
    [listed] = images.pushed()
    assert listed.artifact_type == manifest["config"]["mediaType"]


def test_nothing_is_found_unless_the_file_says_so(aws: Aws, repository: str) -> None:
    told = verdict(aws, repository, pushed(aws, repository))
    assert told["imageScanStatus"]["status"] == "COMPLETE"
    assert (told["imageScanFindings"]["findings"], told["imageScanFindings"]["findingSeverityCounts"]) == ([], {})


def test_what_the_file_says_is_found_by_digest_or_tag(aws: Aws, repository: str, findings: Findings) -> None:
    findings(Scanned("v2", (Finding("CVE-2", "CRITICAL", "zlib"), Finding("CVE-3", "LOW", "tar"))))
    first, second = pushed(aws, repository, "v1"), pushed(aws, repository, "v2")
    assert verdict(aws, repository, first)["imageScanFindings"]["findings"] == []
    found = verdict(aws, repository, second)["imageScanFindings"]
    assert found["findingSeverityCounts"] == {"CRITICAL": 1, "LOW": 1}
    assert [(each["name"], each["severity"], each["attributes"][0]["value"]) for each in found["findings"]] == [
        ("CVE-2", "CRITICAL", "zlib"),
        ("CVE-3", "LOW", "tar"),
    ]


def test_a_scan_that_failed_has_no_findings(aws: Aws, repository: str, findings: Findings) -> None:
    findings(Scanned("*", status="UNSUPPORTED_IMAGE"))
    told = verdict(aws, repository, pushed(aws, repository))
    assert told["imageScanStatus"]["status"] == "UNSUPPORTED_IMAGE"
    assert "imageScanFindings" not in told


def test_an_image_that_is_not_scanned_or_not_there_is_refused_by_name(aws: Aws, repository: str) -> None:
    ecr = aws.client("ecr")
    for asked, code in (
        ({"repositoryName": "none", "imageId": {"imageTag": "v1"}}, "RepositoryNotFoundException"),
        ({"repositoryName": repository, "imageId": {"imageTag": "v1"}}, "ImageNotFoundException"),
    ):
        with pytest.raises(ClientError) as refused:
            ecr.describe_image_scan_findings(**asked)
        assert refused.value.response["Error"]["Code"] == code
    index = json.dumps({"manifests": []})
    kind = "application/vnd.oci.image.index.v1+json"
    registry = connect(aws.endpoint, aws.region)
    digest = registry.put_manifest(repository, "v9", index.encode(), kind)
    with pytest.raises(ClientError, match="ScanNotFound"):
        ecr.describe_image_scan_findings(repositoryName=repository, imageId={"imageDigest": digest})


@pytest.mark.parametrize("text", ["", "CVE-1", "CVE-1:BAD", ":HIGH", "CVE-1:high:x"])
def test_a_finding_that_cannot_be_read_says_how_one_is_written(text: str) -> None:
    with pytest.raises(BadFinding, match="NAME:SEVERITY:PACKAGE"):
        Finding.of(text)
    assert str(Finding.of("CVE-1:HIGH:zlib")) == "CVE-1:HIGH:zlib"
