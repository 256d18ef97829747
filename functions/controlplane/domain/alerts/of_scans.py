"""What people read of images' scans."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from ..releases import Release
from ..scans import Verdict
from .alert import Alert
from .of_releases import now_serves, refused


def scan_refused(release: Release, serving: Release | None, repository: str) -> Alert:
    """FAILED by its scan, before it rolled."""
    to_do = f"Push an image without them. Or deploy this one once all the same: {_release_all_the_same(release)}"
    return refused(release, serving, "refused by its scan", to_do=to_do, look=_the_image(release, repository))


def scan_without_verdict(release: Release, serving: Release | None, why: str, repository: str) -> Alert:
    """Told once a release: the scan ended without a verdict, or its verdict does not come."""
    return Alert.of(
        f"release {release.number} has no verdict",
        f"Tidegate: release {release.number} is held, its scan has no verdict",
        happened=f"Release {release.number} ({release.cause}) waits for the scan of its image.",
        why=why,
        done=f"It stays {release.state}, and rolls when a verdict comes that lets it. {now_serves(serving)}",
        to_do=f"Scan it again in ECR, or push again. Or deploy it all the same: {_release_all_the_same(release)}",
        look=_the_image(release, repository),
    )


def scan_found(release: Release, verdict: Verdict, new: Sequence[str], repository: str) -> Alert:
    """Each finding is told once, of an image that is deployed already; `new` are those that nobody was told of."""
    known = len(new) < len(verdict.names)
    return Alert.of(
        f"findings {release.image} {hashlib.sha256(json.dumps(sorted(new)).encode()).hexdigest()[:16]}",
        f"Tidegate: the scan of release {release.number}'s image found {verdict.worst}",
        happened=f"Release {release.number} ({release.cause}) has findings that MaxSeverity does not allow.",
        why=f"{verdict.why} New: {', '.join(new)}." if known else verdict.why,
        done="Nothing: it is deployed already, and what serves is not taken away for that.",
        to_do="Push an image without them.",
        look=_the_image(release, repository),
    )


def scan_failed(release: Release, why: str, repository: str) -> Alert:
    """Told once an image, of one that is deployed already: nobody knows what is in it."""
    return Alert.of(
        f"scan failed {release.image}",
        f"Tidegate: the scan of release {release.number}'s image failed",
        happened=f"Release {release.number} ({release.cause}) is deployed, and its scan has no verdict.",
        why=why,
        done="Nothing: ScanPolicy is report. If a scan of it ends after all, its findings are told.",
        to_do="Scan it again in ECR, or push an image that can be scanned.",
        look=_the_image(release, repository),
    )


def _release_all_the_same(release: Release) -> str:
    return f"make release-held N={release.number} WHY='...' STACK=..."


def _the_image(release: Release, repository: str) -> str:
    return f"ECR repository {repository}, image {release.image}"
