"""What lies behind a pushed digest, and whether it can run where the service runs."""

from __future__ import annotations

from typing import Any

import pytest
from controlplane.domain.images import IgnoredPush
from controlplane.domain.manifests import Platform, UnfitImage, child_of, config_of, is_index, must_run_on

AMD, ARM = Platform("X86_64"), Platform("ARM64")
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


def entry(letter: str, platform: str | None, **more: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"digest": digest(letter), **more}
    if platform:
        told["platform"] = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
    return told


def index(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": list(entries), **more}


def image(kind: str = CONFIG, *layers: str, **more: Any) -> dict[str, Any]:
    config = {"mediaType": kind, "digest": digest("c")}
    return {"config": config, "layers": [{"mediaType": layer} for layer in layers or (LAYER,)], **more}


BUILDX = index(
    entry("a", "linux/amd64"),
    entry("b", "linux/arm64/v8"),
    entry("d", "unknown/unknown", annotations={"vnd.docker.reference.type": "attestation-manifest"}),
    entry("e", "unknown/unknown", annotations={"vnd.docker.reference.type": "attestation-manifest"}),
)


class TestAnIndex:
    @pytest.mark.parametrize(("platform", "letter"), [(AMD, "a"), (ARM, "b")])
    def test_is_resolved_to_the_image_of_the_services_platform(self, platform: Platform, letter: str) -> None:
        assert child_of(BUILDX, platform) == digest(letter)

    def test_of_one_platform_with_provenance_is_that_image(self) -> None:
        assert child_of(index(entry("d", "unknown/unknown"), entry("a", "linux/amd64")), AMD) == digest("a")

    def test_with_several_variants_gives_the_one_that_asks_for_the_least(self) -> None:
        several = index(entry("b", "linux/amd64/v3"), entry("a", "linux/amd64"), entry("d", "linux/amd64/v2"))
        assert child_of(several, AMD) == digest("a")

    def test_without_the_platform_says_what_it_holds_and_what_to_do(self) -> None:
        with pytest.raises(UnfitImage) as why:
            child_of(
                index(entry("b", "linux/arm64/v8"), entry("w", "windows/amd64"), entry("d", "unknown/unknown")), AMD
            )
        assert str(why.value) == (
            "The index holds linux/arm64/v8, windows/amd64, and the service runs X86_64. "
            "Build it with --platform linux/amd64 and push it under a new tag."
        )

    @pytest.mark.parametrize(
        "other",
        [
            index(),
            index(entry("d", "unknown/unknown")),
            index(entry("a", None)),
            index(entry("a", "linux/amd64", artifactType="application/vnd.example")),
            index(entry("a", "linux/amd64"), subject={"digest": digest("s")}),
        ],
    )
    def test_of_something_else_is_no_image(self, other: dict[str, Any]) -> None:
        with pytest.raises(IgnoredPush, match="not a container image"):
            child_of(other, AMD)

    def test_is_told_by_its_media_type_or_by_what_it_holds(self) -> None:
        assert is_index(BUILDX)
        assert is_index({"manifests": []})
        assert is_index({"mediaType": "application/vnd.docker.distribution.manifest.list.v2+json", "manifests": []})
        assert not is_index(image())


class TestAManifest:
    @pytest.mark.parametrize(
        ("kind", "layer"),
        [
            (CONFIG, LAYER),
            (CONFIG, "application/vnd.oci.image.layer.v1.tar+zstd"),
            (
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            ),
        ],
    )
    def test_of_a_container_image_leads_to_its_config(self, kind: str, layer: str) -> None:
        assert config_of(image(kind, layer)) == digest("c")

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param(image("application/vnd.cncf.helm.config.v1+json"), id="a Helm chart"),
            pytest.param(image(CONFIG, "application/vnd.in-toto+json"), id="an attestation of buildx"),
            pytest.param(image(CONFIG, "application/vnd.dev.cosign.simplesigning.v1+json"), id="a signature of cosign"),
            pytest.param(image(CONFIG, "application/vnd.dsse.envelope.v1+json"), id="an attestation of cosign"),
            pytest.param(image("application/vnd.oci.empty.v1+json"), id="an artifact with an empty config"),
            pytest.param(image(artifactType="application/vnd.cyclonedx+json"), id="an SBOM"),
            pytest.param(image(subject={"digest": digest("s")}), id="a referrer"),
            pytest.param({"schemaVersion": 1}, id="a manifest of before 2016"),
        ],
    )
    def test_of_anything_else_is_no_image(self, other: dict[str, Any]) -> None:
        with pytest.raises(IgnoredPush, match="not a container image"):
            config_of(other)


class TestAPlatform:
    @pytest.mark.parametrize(("platform", "architecture"), [(AMD, "amd64"), (ARM, "arm64")])
    def test_the_services_own_may_run(self, platform: Platform, architecture: str) -> None:
        must_run_on(platform, {"os": "linux", "architecture": architecture})

    def test_another_is_refused_and_says_what_to_do(self) -> None:
        with pytest.raises(UnfitImage) as why:
            must_run_on(AMD, {"os": "linux", "architecture": "arm64", "variant": "v8"})
        assert str(why.value) == (
            "The image is linux/arm64/v8, and the service runs X86_64. "
            "Build it with --platform linux/amd64 and push it under a new tag."
        )

    @pytest.mark.parametrize("config", [{}, {"os": "windows", "architecture": "amd64"}, {"architecture": "amd64"}])
    def test_one_that_says_nothing_or_another_system_is_refused(self, config: dict[str, Any]) -> None:
        with pytest.raises(UnfitImage):
            must_run_on(AMD, config)
