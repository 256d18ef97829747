"""What the control plane makes of images, for a person at the screen: what follows a push, and what serves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from controlplane.domain.images import IgnoredPush, Push, deployable

from local.cloud import Cloud

STANDS = {"serving": "serves", "rolling": "rolls", "going_back": "goes back", "waiting": "waits", "held": "is held"}


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


def rollout(cloud: Cloud, table: str) -> dict[str, Any]:
    """The ledger's document of the rollout; empty before the first release."""
    key = {"kind": {"S": "rollout"}, "id": {"S": "service"}}
    found = cloud.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
    return dict(json.loads(found["doc"]["S"])) if found else {}


def tags(cloud: Cloud, repository: str) -> dict[str, str]:
    """The tags of each digest, as one word."""
    pages = cloud.client("ecr").get_paginator("describe_images").paginate(repositoryName=repository)
    listed = [image for page in pages for image in page["imageDetails"]]
    return {image["imageDigest"]: ",".join(image["imageTags"]) for image in listed if image.get("imageTags")}


def standing(told: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """What serves, and what rolls, goes back, waits or is held, one line each."""
    lines = [f"{verb:10} {described(told[place], names)}" for place, verb in STANDS.items() if told.get(place)]
    return lines if told.get("serving") else ["serves     the placeholder", *lines]


def described(release: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """What a release that does not roll yet leaves open, it takes from what serves then."""
    if release["number"] == 0:
        return "the placeholder"
    digest = release.get("image")
    left_open = "of what serves" if release.get("state") in {"PENDING", "HELD"} else "none yet"
    image = names.get(digest, digest[:19]) if digest else left_open
    return f"release {release['number']}: image {image}, model {release.get('model') or left_open}"
