"""What the control plane makes of images, for a person at the screen: what follows a push, and what serves."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.domain.images import IgnoredPush, Push, deployable


def what_follows(push: Push, parameters: Mapping[str, str], url: str | None) -> str:
    """One line; empty for a stack that deploys no images. The control plane's own rule says what is deployed."""
    pattern = parameters.get("DeployTagPattern")
    if pattern is None:
        return ""
    try:
        deployable(push, repository=push.repository, tag_pattern=pattern)
    except IgnoredPush as fault:
        return f"It will not be deployed: {fault} (DeployTagPattern). Push it under another tag, for example TAG=v2"
    held = parameters.get("ScanPolicy") == "wait"
    begins = "It is held for its scan, and rolls out when that lets it go" if held else "It rolls out"
    return f"{begins}. See make inbox, make status{f', and {url}/version' if url else ''}"
