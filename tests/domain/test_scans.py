"""What a scan says of an image, and whether it may still be deployed."""

from __future__ import annotations

import pytest
from controlplane.domain.scans import Ruling, Scan, ScanState, Vulnerability, judge


def scan(*severities: str, counts: dict[str, int] | None = None) -> Scan:
    found = tuple(Vulnerability(f"CVE-{number}", severity, "zlib") for number, severity in enumerate(severities))
    return Scan(ScanState.COMPLETE, found=found, counts=counts or {})


@pytest.mark.parametrize(
    ("highest", "severity", "ruling"),
    [
        ("HIGH", "CRITICAL", Ruling.REFUSED),
        ("HIGH", "HIGH", Ruling.PASSED),
        ("CRITICAL", "CRITICAL", Ruling.PASSED),
        ("MEDIUM", "HIGH", Ruling.REFUSED),
        ("LOW", "MEDIUM", Ruling.REFUSED),
        ("LOW", "LOW", Ruling.PASSED),
        ("LOW", "INFORMATIONAL", Ruling.PASSED),
        ("LOW", "UNDEFINED", Ruling.PASSED),
        ("LOW", "UNTRIAGED", Ruling.PASSED),
        ("NONE", "UNTRIAGED", Ruling.REFUSED),
        ("NONE", "LOW", Ruling.REFUSED),
    ],
)
def test_an_image_may_have_findings_up_to_the_highest_severity_and_none_above(
    highest: str, severity: str, ruling: Ruling
) -> None:
    assert judge(scan(severity), highest).ruling is ruling
    assert judge(scan(counts={severity: 1}), highest).ruling is ruling


@pytest.mark.parametrize("highest", ["NONE", "LOW", "CRITICAL"])
def test_a_scan_that_found_nothing_lets_it_go(highest: str) -> None:
    assert judge(scan(counts={"TOTAL": 0}), highest).ruling is Ruling.PASSED


def test_a_refusal_names_the_worst_first() -> None:
    verdict = judge(scan("HIGH", "LOW", "CRITICAL", "HIGH"), "MEDIUM")
    assert verdict.worst == "CRITICAL"
    assert verdict.why == (
        "The scan found 3 above MEDIUM: CVE-2 (CRITICAL, zlib), CVE-0 (HIGH, zlib), CVE-3 (HIGH, zlib)."
    )


def test_at_most_ten_are_named_and_how_many_more() -> None:
    why = judge(scan(*["CRITICAL"] * 13), "HIGH").why
    assert why.count("CVE-") == 10
    assert why.endswith(", and 3 more.")


def test_what_is_only_counted_refuses_too() -> None:
    why = judge(scan(counts={"CRITICAL": 2, "TOTAL": 9}), "HIGH").why
    assert why == "The scan found 2 above HIGH: ECR does not name them."


def test_a_total_is_no_severity() -> None:
    assert judge(scan(counts={"TOTAL": 9}), "NONE").ruling is Ruling.PASSED


def test_a_scan_that_is_not_over_is_open() -> None:
    assert judge(Scan(ScanState.PENDING), "HIGH").ruling is Ruling.OPEN


def test_a_scan_that_failed_is_no_verdict_and_says_why() -> None:
    verdict = judge(Scan(ScanState.NONE, "UNSUPPORTED_IMAGE"), "HIGH")
    assert (verdict.ruling, verdict.why) == (Ruling.NO_VERDICT, "The scan gave no verdict: UNSUPPORTED_IMAGE.")
