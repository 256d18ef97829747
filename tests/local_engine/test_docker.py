"""The choice of the engine, and containers of a real engine through the stand-in where one answers.

`tests/local_engine/engine.sh` makes the base image for the tests marked `engine`.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import docker
import pytest
from docker.errors import APIError

from local import docker_push
from local.aws import Aws
from local.engine.docker import DEFAULT_HOST, DOCKER, LABEL, PROCESS, Choice, Docker, EngineFault, choose, unusable
from local.engine.docker import last_word as last_word_of
from local.images import PushRefused
from local.processes import free_port, wait_until
from tests.local_engine.conftest import Cloud, end, start_cloud, start_engine
from tests.local_engine.helpers import APP, CRASHES, NEVER_HEALTHY, REGION, REGISTRY, image_folder

BASE = os.environ.get("TIDEGATE_BASE_IMAGE", "tidegate-base:bookworm")
HOST = os.environ.get("DOCKER_HOST") or DEFAULT_HOST
DOCKERFILE = f"""
FROM {BASE}
ARG IMAGE_VERSION
COPY serve /app/serve
COPY inference /app/inference
RUN chmod 0755 /app/serve && printf '%s' "$IMAGE_VERSION" > /app/VERSION
ENV PATH=/app:/usr/local/bin:/usr/bin:/bin
USER 10001:10001
WORKDIR /app
EXPOSE 8080
CMD ["serve"]
"""
