"""Build and push the inference image where a container engine runs: by plain `docker`, as for AWS.

Promise: the digest returned is the one that the registry recorded. The user's own docker logins are not touched.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from local.aws import Aws
from local.engine.docker import Docker, EngineFault
from local.images import PushRefused

BASE_IMAGE = "TIDEGATE_BASE_IMAGE"
NO_BASE = (
    "If the base image or a package cannot be had here, name a base image that is here "
    f"({BASE_IMAGE}=<image> make push), or run tasks as processes: make down, then TIDEGATE_ENGINE=process make up."
)


def push(aws: Aws, host: str, folder: Path, registry: str, repository: str, tag: str, image_version: str) -> str:
    """`docker build` and `docker push` with the engine at `host`; the login is forgotten afterwards."""
    image = f"{registry}/{repository}:{tag}"
    arguments = [f"IMAGE_VERSION={image_version}"]
    if base := os.environ.get(BASE_IMAGE):
        arguments.append(f"BASE_IMAGE={base}")
    ecr = aws.client("ecr")
    with tempfile.TemporaryDirectory(prefix="tidegate-docker-") as config:
        docker = Docker(host, Path(config))
        docker.log_in(registry, ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"])
        words = [word for argument in arguments for word in ("--build-arg", argument)]
        try:
            docker("build", *words, "--tag", image, str(folder), seconds=None)
        except EngineFault as fault:
            raise PushRefused(f"{image} was not built. {fault}. {NO_BASE}") from fault
        try:
            docker("push", "--quiet", image, seconds=None)
        except EngineFault as fault:
            advice = " Tags cannot be moved: push under a new one." if "immutable" in str(fault).lower() else ""
            raise PushRefused(f"{image} was not pushed. {fault}.{advice}") from fault
    described = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
    return str(described["imageDetails"][0]["imageDigest"])
