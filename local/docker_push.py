"""Build and push the inference image where a container engine runs: by plain `docker`, as for AWS.

Promise: the digest returned is the one that the registry recorded. The user's own docker logins are not touched.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
from pathlib import Path

from local.aws import Aws
from local.images import PushRefused


def push(aws: Aws, folder: Path, registry: str, repository: str, tag: str, image_version: str) -> str:
    """`docker build` and `docker push`, with a login of our own that is forgotten afterwards."""
    image = f"{registry}/{repository}:{tag}"
    ecr = aws.client("ecr")
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    with tempfile.TemporaryDirectory(prefix="tidegate-docker-") as config:
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        (Path(config) / "config.json").write_text(json.dumps({"auths": {registry: {"auth": auth}}}))
        docker(["build", "--build-arg", f"IMAGE_VERSION={image_version}", "--tag", image, str(folder)], config)
        docker(["push", image], config)
    described = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
    return str(described["imageDetails"][0]["imageDigest"])


def docker(arguments: list[str], config: str) -> None:
    environment = {**os.environ, "DOCKER_CONFIG": config, "DOCKER_BUILDKIT": "1"}
    try:
        done = subprocess.run(
            ["docker", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as fault:
        raise PushRefused(
            "A container engine runs, but there is no `docker` command. Install the docker client."
        ) from fault
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()][-1:] or ["it said nothing"]
        raise PushRefused(f"`docker {arguments[0]}` failed: {said[0]}")
