"""The page for people, and the headers under which a browser may run that page and nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

FILE = Path(__file__).resolve().parent / "page.html"


def page() -> tuple[bytes, dict[str, str]]:
    """The page and its headers. Script and style are allowed by their hash, so injected ones do not run."""
    text = FILE.read_text(encoding="utf-8")
    policy = [
        "default-src 'none'",
        f"script-src {_hashes('script', text)}",
        f"style-src {_hashes('style', text)}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    headers = {
        "content-security-policy": "; ".join(policy),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }
    return text.encode("utf-8"), headers


def _hashes(tag: str, text: str) -> str:
    parts = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(part.encode("utf-8")).digest()).decode() for part in parts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
