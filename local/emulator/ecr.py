"""What the emulator's ECR leaves out: where a layer can be had, what an artifact is, and what its scan found."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from local.scans import Scanned, described, is_scanned, scan_of

Answer = tuple[int, dict[str, str], bytes]
Handle = Callable[..., Awaitable[Answer]]


def as_aws_does(ecr: Any, handle: Handle, scans: Callable[[], Sequence[Scanned]], now: Callable[[], float]) -> Handle:
    async def wrapped(method: str, path: str, headers: Mapping[str, str], body: bytes, params: Any) -> Answer:
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        asked = json.loads(body or b"{}")
        if action == "DescribeImageScanFindings":
            return scan_findings(ecr, asked, scans(), now())
        status, told, answer = await handle(method, path, headers, body, params)
        if status == 200 and action == "GetDownloadUrlForLayer":
            answer = edited(answer, lambda found: download_url(ecr, found, asked, headers))
        if status == 200 and action == "DescribeImages":
            answer = edited(answer, lambda found: with_artifact_types(ecr, found, asked))
        return status, told, answer

    return wrapped


def edited(answer: bytes, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes:
    return json.dumps(edit(json.loads(answer))).encode()


def download_url(
    ecr: Any, found: dict[str, Any], asked: Mapping[str, Any], headers: Mapping[str, str]
) -> dict[str, Any]:
    """At the address by which the caller reached this gateway; AWS's would be a presigned one of S3."""
    place = f"v2/{asked['repositoryName']}/blobs/{asked['layerDigest']}"
    registry = ecr._repo_uri("").rstrip("/")
    return {**found, "downloadUrl": f"http://{headers['host']}/{place}?ns={registry}"}


def with_artifact_types(ecr: Any, found: dict[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """The media type of an image's config; an index has none."""
    for image in found["imageDetails"]:
        image.pop("artifactMediaType", None)
        kept = ecr._find_image(asked["repositoryName"], {"imageDigest": image["imageDigest"]}) or {}
        if kind := artifact_type(kept.get("imageManifest", "")):
            image["artifactMediaType"] = kind
    return found


def artifact_type(manifest: str) -> str:
    try:
        told = json.loads(manifest)
    except ValueError:
        return ""
    config = told.get("config") if isinstance(told, dict) else None
    return str(told.get("artifactType") or config.get("mediaType", "")) if isinstance(config, dict) else ""


def scan_findings(ecr: Any, asked: Mapping[str, Any], scans: Sequence[Scanned], now: float) -> Answer:
    name, image_id = asked.get("repositoryName", ""), asked.get("imageId", {})
    repository = ecr._repositories.get(name)
    if repository is None:
        return refused("RepositoryNotFoundException", f"The repository with name '{name}' does not exist")
    image = ecr._find_image(name, image_id)
    if image is None:
        return refused("ImageNotFoundException", f"The image {image_id} does not exist in the repository '{name}'")
    if not is_scanned(repository, image["imageManifestMediaType"]):
        return refused("ScanNotFoundException", f"Image scan does not exist for the image {image_id}")
    scan = scan_of(scans, image["imageDigest"], image.get("imageTags", []))
    return (
        200,
        {"Content-Type": "application/x-amz-json-1.1"},
        json.dumps(described(repository, image, scan, now)).encode(),
    )


def refused(code: str, message: str) -> Answer:
    kind = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-errortype": code}
    return 400, kind, json.dumps({"__type": code, "message": message}).encode()
