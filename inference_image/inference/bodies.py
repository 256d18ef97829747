"""What a request may say. Everything else is refused in a sentence, before the model sees it."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from inference.problems import Problem

MAX_TEXTS = 256
MAX_CHARACTERS = 100_000
MAX_BYTES = 8 * 1024 * 1024

ONE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["text"],
    "properties": {"text": {"type": "string"}},
}
MANY = {
    "type": "object",
    "additionalProperties": False,
    "required": ["texts"],
    "properties": {"texts": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_TEXTS}},
}
PREDICT_REQUEST = {"oneOf": [ONE, MANY]}
HOW = 'Send {"text": "…"} or {"texts": ["…", "…"]}.'


async def read_body(request: Request) -> bytes:
    """The body, never more than MAX_BYTES of it in memory."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BYTES:
            raise Problem(413, f"The request is larger than {MAX_BYTES // 1024**2} MiB.", "Send fewer texts at a time.")
        parts.append(part)
    return b"".join(parts)


def read_texts(body: bytes, many: bool = True) -> tuple[list[str], bool]:
    """The texts that a body holds, and whether it was a list. Raises Problem."""
    how = HOW if many else 'Send {"text": "…"}.'
    try:
        asked: Any = json.loads(body)
    except (ValueError, RecursionError) as fault:
        raise Problem(400, "The request is not JSON.", how) from fault
    if not isinstance(asked, dict):
        raise Problem(422, "The request is not a JSON object.", how)
    allowed = {"text", "texts"} if many else {"text"}
    unknown = sorted(set(asked) - allowed)
    if unknown:
        raise Problem(422, f"The request has a field that is not known: {unknown[0][:60]!r}.", how)
    if len(asked) != 1:
        raise Problem(422, "The request must have exactly one of text and texts." if many else "text is missing.", how)
    if "texts" in asked:
        return _several(asked["texts"], how), True
    return [_one(asked["text"], "text", how)], False


def _several(texts: Any, how: str) -> list[str]:
    if not isinstance(texts, list) or not texts:
        raise Problem(422, "texts must be a list with at least one text.", how)
    if len(texts) > MAX_TEXTS:
        raise Problem(413, f"There are {len(texts)} texts; {MAX_TEXTS} is the limit.", "Send them in several requests.")
    return [_one(text, f"texts[{number}]", how) for number, text in enumerate(texts)]


def _one(text: Any, where: str, how: str) -> str:
    if not isinstance(text, str):
        raise Problem(422, f"{where} is not a string.", how)
    if len(text) > MAX_CHARACTERS:
        problem = f"{where} has {len(text):,} characters; {MAX_CHARACTERS:,} is the limit."
        raise Problem(413, problem, "Send a shorter text.")
    if not text.strip():
        raise Problem(422, f"{where} is empty.", "Write something to classify.")
    return text
