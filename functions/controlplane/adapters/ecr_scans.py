"""What ECR's scan says of an image: basic scanning, or enhanced by Inspector.

docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImageScanFindings.html, API_EnhancedImageScanFinding.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from ..domain.scans import Scan, ScanState, Vulnerability
from ..ports import TryAgain
from .ecr_images import PASSING

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient

OVER = {"COMPLETE", "ACTIVE"}  # ACTIVE: enhanced, scanned, and looked at again whenever something new is known
ON_THE_WAY = {"IN_PROGRESS", "PENDING"}


class EcrScans:
    def __init__(self, ecr: ECRClient, repository: str) -> None:
        self._ecr, self._repository = ecr, repository

    def scan(self, image: str) -> Scan:
        asked: dict[str, Any] = {"repositoryName": self._repository, "imageId": {"imageDigest": image}}
        found: list[Vulnerability] = []
        counts: Mapping[str, int] = {}
        while True:
            try:
                told: Any = self._ecr.describe_image_scan_findings(**asked, maxResults=1000)
            except BotoCoreError as fault:
                raise TryAgain(f"ECR does not answer: {fault}") from fault
            except ClientError as fault:
                code = fault.response["Error"]["Code"]
                if code == "ScanNotFoundException":
                    return Scan(ScanState.PENDING, "ECR knows no scan of it (yet).")
                if code == "ImageNotFoundException":
                    return Scan(ScanState.NONE, "the image is not in the repository")
                if code in PASSING:
                    raise TryAgain(f"ECR does not answer: {fault}") from fault
                raise
            status = told.get("imageScanStatus", {})
            if status.get("status") not in OVER:
                return _without_verdict(status)
            findings = told.get("imageScanFindings", {})
            found += [_basic(each) for each in findings.get("findings", [])]
            found += [_enhanced(each) for each in findings.get("enhancedFindings", [])]
            counts = findings.get("findingSeverityCounts", {}) or counts
            if not told.get("nextToken"):
                return Scan(ScanState.COMPLETE, found=tuple(found), counts=counts)
            asked["nextToken"] = told["nextToken"]


def _without_verdict(status: Mapping[str, str]) -> Scan:
    name = status.get("status", "")
    if name in ON_THE_WAY:
        return Scan(ScanState.PENDING, "The scan is not over.")
    return Scan(ScanState.NONE, " ".join(word for word in (name, status.get("description", "")) if word).rstrip("."))


def _basic(told: Mapping[str, Any]) -> Vulnerability:
    of = {pair["key"]: pair.get("value", "") for pair in told.get("attributes", [])}
    package = " ".join(word for word in (of.get("package_name"), of.get("package_version")) if word)
    return Vulnerability(told.get("name", "unnamed"), told.get("severity", "UNDEFINED"), package or "unknown package")


def _enhanced(told: Mapping[str, Any]) -> Vulnerability:
    details = told.get("packageVulnerabilityDetails", {})
    packages = details.get("vulnerablePackages", [])
    first = packages[0] if packages else {}
    package = " ".join(word for word in (first.get("name"), first.get("version")) if word)
    name = details.get("vulnerabilityId") or told.get("title") or "unnamed"
    return Vulnerability(name, told.get("severity", "UNTRIAGED"), package or "unknown package")
