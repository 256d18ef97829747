"""What went wrong, as a person can use it: what is wrong, and what to do. Never a stack trace."""

from __future__ import annotations

import json

from starlette.responses import Response


class Problem(Exception):
    """A request that cannot be answered. Becomes the JSON body of a 4xx or 5xx."""

    def __init__(self, status: int, error: str, what_to_do: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.what_to_do = what_to_do


class ModelFault(Exception):
    """The model must not serve: a file is missing, changed or unusable. The message is one sentence."""


class SettingsFault(Exception):
    """The environment cannot be used. The message names every fault at once."""


def as_json(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(content, status, headers, media_type="application/json")


def as_answer(problem: Problem) -> Response:
    return as_json({"error": problem.error, "what_to_do": problem.what_to_do}, problem.status)
