"""ECR's scan as the control plane reads it, of basic scanning and of Inspector's.

docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImageScanFindings.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from controlplane.adapters.ecr_scans import EcrScans
from controlplane.domain.scans import Scan, ScanState, Vulnerability
from controlplane.ports import TryAgain

Stubs = Callable[[str], tuple[Any, Stubber]]
DIGEST = "sha256:" + "a" * 64


def answer(status: str, found: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"imageScanStatus": {"status": status, "description": "It is so."}, **more}
    return {**told, "imageScanFindings": found} if found is not None else told


def basic(name: str, severity: str, package: str | None = "zlib") -> dict[str, Any]:
    attributes = [{"key": "package_name", "value": package}, {"key": "package_version", "value": "1.2"}]
    return {"name": name, "severity": severity, "attributes": attributes if package else []}


def scanned(stubbed: Stubs, *answers: dict[str, Any]) -> Scan:
    ecr, stub = stubbed("ecr")
    for told in answers:
        stub.add_response("describe_image_scan_findings", told)
    return EcrScans(ecr, "inference").scan(DIGEST)


def test_basic_findings_have_name_severity_and_package(stubbed: Stubs) -> None:
    found = {
        "findings": [basic("CVE-1", "CRITICAL"), basic("CVE-2", "UNDEFINED", None)],
        "findingSeverityCounts": {"CRITICAL": 1, "UNDEFINED": 1},
    }
    assert scanned(stubbed, answer("COMPLETE", found)) == Scan(
        ScanState.COMPLETE,
        found=(
            Vulnerability("CVE-1", "CRITICAL", "zlib 1.2"),
            Vulnerability("CVE-2", "UNDEFINED", "unknown package"),
        ),
        counts={"CRITICAL": 1, "UNDEFINED": 1},
    )


def test_findings_of_inspector_have_name_severity_and_package(stubbed: Stubs) -> None:
    package = {"name": "libssh2", "version": "1.4.3"}
    details = {"vulnerabilityId": "CVE-2019-17498", "vulnerablePackages": [package]}
    found = {
        "enhancedFindings": [
            {"title": "CVE-2019-17498 - libssh2", "severity": "HIGH", "packageVulnerabilityDetails": details},
            {"title": "an odd one", "severity": "UNTRIAGED"},
        ],
        "findingSeverityCounts": {"HIGH": 1, "UNTRIAGED": 1},
    }
    assert scanned(stubbed, answer("ACTIVE", found)).found == (
        Vulnerability("CVE-2019-17498", "HIGH", "libssh2 1.4.3"),
        Vulnerability("an odd one", "UNTRIAGED", "unknown package"),
    )


def test_findings_of_all_pages_are_read(stubbed: Stubs) -> None:
    pages = [
        answer(
            "COMPLETE", {"findings": [basic("CVE-1", "LOW")], "findingSeverityCounts": {"LOW": 2}}, nextToken="more"
        ),
        answer("COMPLETE", {"findings": [basic("CVE-2", "LOW")]}),
    ]
    scan = scanned(stubbed, *pages)
    assert ([each.name for each in scan.found], scan.counts) == (["CVE-1", "CVE-2"], {"LOW": 2})


@pytest.mark.parametrize("status", ["IN_PROGRESS", "PENDING"])
def test_a_scan_on_its_way_is_pending(stubbed: Stubs, status: str) -> None:
    assert scanned(stubbed, answer(status)).state is ScanState.PENDING


@pytest.mark.parametrize(
    "status", ["FAILED", "UNSUPPORTED_IMAGE", "SCAN_ELIGIBILITY_EXPIRED", "FINDINGS_UNAVAILABLE", "LIMIT_EXCEEDED"]
)
def test_a_scan_that_ended_otherwise_is_no_verdict(stubbed: Stubs, status: str) -> None:
    assert scanned(stubbed, answer(status)) == Scan(ScanState.NONE, f"{status} It is so")


@pytest.mark.parametrize(
    ("code", "state"), [("ScanNotFoundException", ScanState.PENDING), ("ImageNotFoundException", ScanState.NONE)]
)
def test_what_ecr_does_not_know(stubbed: Stubs, code: str, state: ScanState) -> None:
    ecr, stub = stubbed("ecr")
    stub.add_client_error("describe_image_scan_findings", code)
    assert EcrScans(ecr, "inference").scan(DIGEST).state is state


@pytest.mark.parametrize(
    ("code", "leaves"),
    [("ServerException", TryAgain), ("ThrottlingException", TryAgain), ("AccessDeniedException", ClientError)],
)
def test_while_ecr_does_not_answer_nothing_is_said(stubbed: Stubs, code: str, leaves: type[Exception]) -> None:
    ecr, stub = stubbed("ecr")
    stub.add_client_error("describe_image_scan_findings", code)
    with pytest.raises(leaves):
        EcrScans(ecr, "inference").scan(DIGEST)
