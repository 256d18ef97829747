"""Clients of the emulator, with its root key.

Promise: nothing here can reach AWS. Endpoint, region and key are always given, never looked up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

KEY, SECRET = "test", "test"


@dataclass(frozen=True)
class Aws:
    """The API of one local cloud."""

    endpoint: str
    region: str

    @cached_property
    def _session(self) -> boto3.Session:
        return boto3.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name=self.region)

    @cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    def client(self, service: str) -> Any:
        """A client of one service; the same one each time. The return type is the service's own, so Any."""
        if service not in self._clients:
            options: dict[str, Any] = {
                "endpoint_url": self.endpoint,
                "config": Config(connect_timeout=3, read_timeout=60, retries={"total_max_attempts": 2}, proxies={}),
            }
            make: Any = self._session.client
            self._clients[service] = make(service, **options)
        return self._clients[service]

    @contextmanager
    def ambient(self) -> Iterator[None]:
        """For code that takes its settings from the environment: ours within, the old ones after."""
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    @property
    def environment(self) -> dict[str, str]:
        """What makes `aws`, `sam` and every SDK talk to this cloud, and to no other."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
        }
