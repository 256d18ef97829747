"""What ECR's basic scan finds, decided by a file, `findings.json` of the local cloud: nothing, unless it says so.

The file is a list of {"image", "findings", "status"}: `image` is a digest, a tag, or `*`; the first that names an image
counts. Promise: an image of a repository that scans on push has its verdict SCAN_SECONDS after the push, in AWS's
shape; an index has none, as on AWS, where each of its manifests is scanned for itself.
"""

from __future__ import annotations

import fnmatch
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = "findings.json"
SCAN_SECONDS = 2.0
SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "UNDEFINED")
STATUSES = ("COMPLETE", "FAILED", "UNSUPPORTED_IMAGE", "IN_PROGRESS")
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")


class BadFinding(ValueError):
    """A finding that cannot be read; the message says how one is written."""


@dataclass(frozen=True)
class Finding:
    name: str
    severity: str
    package: str

    @staticmethod
    def of(text: str) -> Finding:
        """NAME:SEVERITY[:PACKAGE], for example CVE-2026-1:HIGH:zlib."""
        name, _, rest = text.partition(":")
        severity, _, package = rest.partition(":")
        if not name or severity not in SEVERITIES:
            known = ", ".join(SEVERITIES)
            raise BadFinding(f"{text!r} is no finding. Write NAME:SEVERITY:PACKAGE, SEVERITY being one of {known}")
        return Finding(name, severity, package or "some-package")

    def __str__(self) -> str:
        return f"{self.name}:{self.severity}:{self.package}"


@dataclass(frozen=True)
class Scanned:
    """What the scan of an image says. IN_PROGRESS stays: the verdict never comes."""

    image: str
    findings: tuple[Finding, ...] = ()
    status: str = "COMPLETE"

    @property
    def counts(self) -> dict[str, int]:
        """Only severities that occur."""
        return dict(Counter(finding.severity for finding in self.findings))


def read(state: Path) -> list[Scanned]:
    try:
        listed = json.loads((state / FILE).read_text())
    except FileNotFoundError:
        return []
    return [Scanned(d["image"], tuple(Finding(**each) for each in d["findings"]), d["status"]) for d in listed]


def write(state: Path, scans: Sequence[Scanned]) -> None:
    """In one piece: the emulator reads the list before or this one."""
    fresh = state / f"{FILE}.new"
    fresh.write_text(json.dumps([asdict(scan) for scan in scans], indent=1))
    fresh.replace(state / FILE)


def scan_of(scans: Sequence[Scanned], digest: str, tags: Sequence[str]) -> Scanned:
    for scan in scans:
        if any(fnmatch.fnmatchcase(name, scan.image) for name in (digest, *tags)):
            return scan
    return Scanned(digest)


def described(repository: Mapping[str, Any], image: Mapping[str, Any], scan: Scanned, now: float) -> dict[str, Any]:
    """The answer of DescribeImageScanFindings."""
    over = now - image["imagePushedAt"] >= SCAN_SECONDS
    status = scan.status if over else "IN_PROGRESS"
    found = {
        "imageScanCompletedAt": int(now),
        "vulnerabilitySourceUpdatedAt": int(now),
        "findings": [
            {
                "name": finding.name,
                "description": "findings.json of the local cloud says so.",
                "uri": f"https://nvd.nist.gov/vuln/detail/{finding.name}",
                "severity": finding.severity,
                "attributes": [
                    {"key": "package_name", "value": finding.package},
                    {"key": "package_version", "value": "1.0"},
                ],
            }
            for finding in scan.findings
        ],
        "findingSeverityCounts": scan.counts,
    }
    return {
        "registryId": repository["registryId"],
        "repositoryName": repository["repositoryName"],
        "imageId": {"imageDigest": image["imageDigest"]},
        "imageScanStatus": {"status": status, "description": f"The scan is {status}."},
        **({"imageScanFindings": found} if status == "COMPLETE" else {}),
    }


def is_scanned(repository: Mapping[str, Any], media_type: str) -> bool:
    return bool(repository.get("imageScanningConfiguration", {}).get("scanOnPush")) and media_type not in INDEXES
