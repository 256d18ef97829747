"""What lies behind a pushed digest: an image of the service's platform, an index that holds one, or neither.

Shapes: the OCI image specification (image-index.md, manifest.md, config.md) and Docker's manifest list, schema 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .images import DIGEST, IMAGE_CONFIGS, INDEXES, IgnoredPush

# By the value of the template's CpuArchitecture, which is ECS's; images use Go's words.
ARCHITECTURES = {"X86_64": "amd64", "ARM64": "arm64"}
LAYERS = ("application/vnd.docker.image.rootfs.", "application/vnd.oci.image.layer.")
UNKNOWN = "unknown"  # buildx gives its attestations the platform unknown/unknown


class UnfitImage(Exception):
    """An image that was meant for the service and cannot run there; the message says why and what to do."""


@dataclass(frozen=True)
class Platform:
    """Where tasks run: Fargate runs Linux; `cpu` is ECS's word for it, as the template says it."""

    cpu: str

    @property
    def architecture(self) -> str:
        return ARCHITECTURES[self.cpu]

    def __str__(self) -> str:
        return f"linux/{self.architecture}"

    def is_of(self, told: Mapping[str, Any]) -> bool:
        return told.get("os") == "linux" and told.get("architecture") == self.architecture


def is_index(manifest: Mapping[str, Any]) -> bool:
    return manifest.get("mediaType") in INDEXES or ("manifests" in manifest and "config" not in manifest)


def child_of(index: Mapping[str, Any], platform: Platform) -> str:
    """The digest of the index's manifest for the platform. Raises IgnoredPush, UnfitImage."""
    if "subject" in index:
        raise IgnoredPush("not a container image: an artifact that refers to another")
    images = [told for told in index.get("manifests", []) if _is_image(told)]
    if not images:
        raise IgnoredPush("not a container image: an index whose manifests name no platform")
    fitting = [told for told in images if platform.is_of(told.get("platform", {}))]
    # Of several for one architecture the one that asks for the least of the processor runs everywhere.
    fitting.sort(key=lambda told: told["platform"].get("variant", ""))
    if not fitting:
        held = ", ".join(dict.fromkeys(_name(told["platform"]) for told in images))
        raise UnfitImage(f"The index holds {held}, and the service runs {platform.cpu}. {_advice(platform)}")
    digest = str(fitting[0].get("digest", ""))
    if not DIGEST.match(digest):
        raise UnfitImage(f"The index names no sha256 digest for {platform}. Push the image again.")
    return digest


def config_of(manifest: Mapping[str, Any]) -> str:
    """The digest of the config blob of a container image. Raises IgnoredPush for every other artifact."""
    config = manifest.get("config") or {}
    kind = str(manifest.get("artifactType") or config.get("mediaType") or manifest.get("mediaType") or "no media type")
    if "subject" in manifest:
        raise IgnoredPush(f"not a container image: {kind} that refers to another")
    if manifest.get("artifactType") or config.get("mediaType") not in IMAGE_CONFIGS:
        raise IgnoredPush(f"not a container image: {kind}")
    layers = [str(layer.get("mediaType", "")) for layer in manifest.get("layers", [])]
    if foreign := [layer for layer in layers if not layer.startswith(LAYERS)]:
        raise IgnoredPush(f"not a container image: it holds {foreign[0]}")
    return str(config["digest"])


def must_run_on(platform: Platform, config: Mapping[str, Any]) -> None:
    """Raises UnfitImage when the image is of another platform."""
    if not platform.is_of(config):
        raise UnfitImage(f"The image is {_name(config)}, and the service runs {platform.cpu}. {_advice(platform)}")


def _is_image(told: Mapping[str, Any]) -> bool:
    where = told.get("platform") or {}
    return bool(where) and UNKNOWN not in {where.get("os"), where.get("architecture")} and "artifactType" not in told


def _name(told: Mapping[str, Any]) -> str:
    parts: Sequence[object] = (told.get("os") or UNKNOWN, told.get("architecture") or UNKNOWN, told.get("variant"))
    return "/".join(str(part) for part in parts if part)


def _advice(platform: Platform) -> str:
    return f"Build it with --platform {platform} and push it under a new tag."
