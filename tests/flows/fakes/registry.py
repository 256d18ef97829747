"""ECR in memory: images, indexes, other artifacts, and the verdicts of their scans."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controlplane.domain.images import Push
from controlplane.domain.scans import Scan, ScanState, Vulnerability
from controlplane.ports import TryAgain

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class FakeImages:
    """ECR: a tag that moves leaves its old image; the images that were pushed last come first, whatever their tags.

    `silent`: it does not answer now.
    """

    pushes: list[Push] = field(default_factory=list)
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    silent: bool = False

    def push(
        self, push: Push, *, architecture: str = "amd64", index: Sequence[str] = (), kind: str = OCI_CONFIG
    ) -> None:
        """An image, or an index of images of these architectures, or (`kind`) another artifact."""
        self.pushes = [known for known in self.pushes if known.tag != push.tag]
        order = list(self.manifests)
        self.manifests.setdefault(push.digest, self._index(push, index) if index else self._image(architecture, kind))
        self.pushes.append(push)
        order += [digest for digest in self.manifests if digest not in order]
        self.pushes.sort(key=lambda known: order.index(known.digest), reverse=True)

    def _image(self, architecture: str, kind: str = OCI_CONFIG) -> dict[str, Any]:
        config = f"sha256:{architecture:c>64}"
        self.configs[config] = {"os": "linux", "architecture": architecture}
        return {"mediaType": OCI_MANIFEST, "config": {"mediaType": kind, "digest": config}, "layers": []}

    def _index(self, push: Push, architectures: Sequence[str]) -> dict[str, Any]:
        children = []
        for architecture in architectures:
            child = child_digest(push, architecture)
            self.manifests[child] = self._image(architecture)
            os = "unknown" if architecture == "unknown" else "linux"
            children.append({"digest": child, "platform": {"os": os, "architecture": architecture}})
        return {"mediaType": OCI_INDEX, "manifests": children}

    def pushed(self) -> Sequence[Push]:
        return list(self.pushes)

    def manifest(self, digest: str) -> Mapping[str, Any] | None:
        self._answer()
        return self.manifests.get(digest)

    def config(self, digest: str) -> Mapping[str, Any]:
        self._answer()
        return self.configs[digest]

    def _answer(self) -> None:
        if self.silent:
            raise TryAgain("ECR does not answer")


def child_digest(index: Push, architecture: str) -> str:
    """Of the manifest that an index of FakeImages holds for the architecture."""
    return "sha256:" + hashlib.sha256(f"{index.digest} {architecture}".encode()).hexdigest()


@dataclass
class FakeScans:
    """ECR's scan: every image is clean at once, until a test says otherwise."""

    scans: dict[str, Scan] = field(default_factory=dict)
    otherwise: Scan = field(default_factory=lambda: Scan(ScanState.COMPLETE))
    silent: bool = False

    def scan(self, image: str) -> Scan:
        if self.silent:
            raise TryAgain("ECR does not answer")
        return self.scans.get(image, self.otherwise)


PENDING = Scan(ScanState.PENDING)
CLEAN = Scan(ScanState.COMPLETE)
FOUND = Scan(ScanState.COMPLETE, found=(Vulnerability("CVE-1", "CRITICAL", "zlib 1.2"),), counts={"CRITICAL": 1})
