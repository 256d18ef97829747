"""Inference tasks over HTTP, each at its own address."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

from ..domain.probes import Reply
from ..ports import Unanswered

SECONDS = 8.0  # for what a task answers without work
MOST = 4_000_000  # bytes of an answer


class HttpTasks:
    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds

    def get(self, address: str, path: str) -> Reply:
        return self._ask(address, "GET", path, None, self._seconds)

    def post(self, address: str, path: str, body: Mapping[str, Any], seconds: float) -> Reply:
        return self._ask(address, "POST", path, json.dumps(body).encode(), seconds)

    def _ask(self, address: str, method: str, path: str, body: bytes | None, seconds: float) -> Reply:
        connection = http.client.HTTPConnection(address, timeout=seconds)
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read(MOST)
        except (OSError, http.client.HTTPException) as fault:
            raise Unanswered(f"{method} {path} got no answer: {type(fault).__name__} {fault}".rstrip()) from fault
        finally:
            connection.close()
        try:
            return Reply(answer.status, json.loads(text))
        except ValueError:
            return Reply(answer.status)
