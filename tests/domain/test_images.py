"""Which pushes are for the service; the others say why they are not."""

from __future__ import annotations

import pytest
from controlplane.domain.images import IgnoredPush, Push, deployable

DIGEST = "sha256:" + "a" * 64


def judged(tag: str, repository: str = "tidegate/inference", digest: str = DIGEST, pattern: str = "v.+") -> Push:
    return deployable(Push(repository, digest, tag), repository="tidegate/inference", tag_pattern=pattern)


@pytest.mark.parametrize("tag", ["v1", "v1.2.3-rc.1", "v-2026-01-01"])
def test_a_tag_of_the_pattern_is_deployed(tag: str) -> None:
    assert judged(tag).digest == DIGEST


@pytest.mark.parametrize(
    ("tag", "why"),
    [
        ("", "untagged"),
        ("latest", "does not match"),
        ("xv1", "does not match"),
        ("v", "does not match"),
        ("sha256-" + "a" * 64 + ".sig", "signature"),
        ("sha256-" + "a" * 64 + ".att", "signature"),
        ("sha256-" + "a" * 64 + ".sbom", "signature"),
        ("sha256-" + "a" * 64, "signature"),
    ],
)
def test_other_pushes_are_ignored_with_a_reason(tag: str, why: str) -> None:
    with pytest.raises(IgnoredPush, match=why):
        judged(tag)


def test_a_signature_is_never_deployed_even_if_every_tag_is() -> None:
    with pytest.raises(IgnoredPush, match="signature"):
        judged("sha256-" + "a" * 64 + ".sig", pattern=".*")


def test_another_repository_is_ignored() -> None:
    with pytest.raises(IgnoredPush, match="another repository"):
        judged("v1", repository="tidegate/other")


@pytest.mark.parametrize("digest", ["", "v1", "sha256:abc", "sha512:" + "a" * 64])
def test_only_a_sha256_digest_names_an_image(digest: str) -> None:
    with pytest.raises(IgnoredPush, match="digest"):
        judged("v1", digest=digest)


OCI = "application/vnd.oci.image.manifest.v1+json"


def typed(manifest_type: str, artifact_type: str = "") -> Push:
    push = Push("tidegate/inference", DIGEST, "v1", manifest_type, artifact_type)
    return deployable(push, repository="tidegate/inference", tag_pattern="v.+")


@pytest.mark.parametrize(
    ("manifest_type", "artifact_type"),
    [
        ("", ""),
        (OCI, ""),
        (OCI, "application/vnd.oci.image.config.v1+json"),
        (
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.docker.container.image.v1+json",
        ),
        ("application/vnd.oci.image.index.v1+json", ""),
        ("application/vnd.docker.distribution.manifest.list.v2+json", ""),
    ],
)
def test_an_image_or_an_index_is_deployed(manifest_type: str, artifact_type: str) -> None:
    assert typed(manifest_type, artifact_type).digest == DIGEST


@pytest.mark.parametrize(
    ("manifest_type", "artifact_type"),
    [
        ("application/vnd.oci.artifact.manifest.v1+json", ""),
        (OCI, "application/vnd.cncf.helm.config.v1+json"),
        (OCI, "application/vnd.in-toto+json"),
        (OCI, "application/vnd.dev.cosign.artifact.sig.v1+json"),
        (OCI, "application/vnd.oci.empty.v1+json"),
        ("", "application/vnd.cyclonedx+json"),
    ],
)
def test_another_artifact_is_ignored_by_its_media_type(manifest_type: str, artifact_type: str) -> None:
    with pytest.raises(IgnoredPush, match=r"not a container image: application/"):
        typed(manifest_type, artifact_type)
