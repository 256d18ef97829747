"""What a scan says of an image, and whether it may still be deployed.

Basic scanning rates INFORMATIONAL, LOW, MEDIUM, HIGH, CRITICAL, UNDEFINED; enhanced scanning also UNTRIAGED.
docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

# From harmless to worst. What nobody has rated yet counts as harmless, for it is not known to be more.
SEVERITIES = ("NONE", "UNRATED", "LOW", "MEDIUM", "HIGH", "CRITICAL")
NAMED_AT_MOST = 10


class ScanPolicy(StrEnum):
    """`wait` holds a pushed image until its scan's verdict, `report` rolls at once and tells after, `off` asks not."""

    WAIT = "wait"
    REPORT = "report"
    OFF = "off"


class ScanState(StrEnum):
    PENDING = "PENDING"
    COMPLETE = "COMPLETE"
    NONE = "NONE"


@dataclass(frozen=True)
class Vulnerability:
    name: str
    severity: str
    package: str

    @property
    def rank(self) -> int:
        return rank(self.severity)

    def __str__(self) -> str:
        return f"{self.name} ({self.severity}, {self.package})"


@dataclass(frozen=True)
class Scan:
    """`state` NONE: it ended without a verdict, and `reason` says why. `counts` are the scanner's, by severity."""

    state: ScanState
    reason: str = ""
    found: tuple[Vulnerability, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


class Ruling(StrEnum):
    OPEN = "OPEN"
    PASSED = "PASSED"
    REFUSED = "REFUSED"
    NO_VERDICT = "NO_VERDICT"


@dataclass(frozen=True)
class Verdict:
    """`worst` is the highest severity that was found, `why` a sentence, `names` the findings that refuse it."""

    ruling: Ruling
    why: str
    worst: str = "NONE"
    names: tuple[str, ...] = ()


def rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else SEVERITIES.index("UNRATED")


def judge(scan: Scan, highest: str) -> Verdict:
    """`highest` is the highest severity that may still be deployed; NONE = no finding at all."""
    if scan.state is ScanState.PENDING:
        return Verdict(Ruling.OPEN, scan.reason or "The scan is not over.")
    if scan.state is ScanState.NONE:
        return Verdict(Ruling.NO_VERDICT, f"The scan gave no verdict: {scan.reason or 'ECR gave no reason'}.")
    above = sorted((each for each in scan.found if each.rank > rank(highest)), key=lambda each: (-each.rank, each.name))
    counted = sum(
        count for severity, count in scan.counts.items() if severity != "TOTAL" and rank(severity) > rank(highest)
    )
    number = max(len(above), counted)
    severities = [each.severity for each in scan.found] + [
        s for s, count in scan.counts.items() if count and s != "TOTAL"
    ]
    worst = max(severities, key=rank, default="NONE")
    bound = "" if highest == "NONE" else f" above {highest}"
    if number == 0:
        return Verdict(Ruling.PASSED, f"The scan found nothing{bound}.", worst)
    names = list(dict.fromkeys(each.name for each in above))
    if number > len(above):
        names.append(f"{number - len(above)} without a name")
    return Verdict(Ruling.REFUSED, f"The scan found {number}{bound}: {_listed(above, number)}.", worst, tuple(names))


def _listed(above: Sequence[Vulnerability], number: int) -> str:
    named = [str(each) for each in above[:NAMED_AT_MOST]]
    more = number - len(named)
    if more and named:
        named.append(f"and {more} more")
    return ", ".join(named) or "ECR does not name them"
