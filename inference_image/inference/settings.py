"""The only reader of the environment. A bad setting stops the start, and every fault is named at once."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inference.problems import SettingsFault

VERSION_FILE = Path(__file__).resolve().parent.parent / "VERSION"
DIGEST = re.compile(r"@(sha256:[0-9a-f]{64})$")


@dataclass(frozen=True)
class Settings:
    model_uri: str = ""  # MODEL_URI: s3://<bucket>/models/<run id>/ or file:///<folder>; empty = no model yet
    release: str | None = None  # TIDEGATE_RELEASE: number of the release
    image: str | None = None  # TIDEGATE_IMAGE: repository@sha256:…
    service: str = "inference"  # TIDEGATE_SERVICE: the dimension under which metrics are kept
    bind_address: str = "0.0.0.0"  # BIND_ADDRESS
    port: int = 8080  # PORT
    metrics_seconds: float = 10.0  # METRICS_SECONDS: one line of metrics at most this often
    drain_seconds: float = 1.0  # DRAIN_SECONDS: after SIGTERM, how long /ready says 503 before the port closes
    finish_seconds: int = 20  # FINISH_SECONDS: then, how long running requests may take to finish
    image_version: str = "unknown"  # the file VERSION beside this package

    @property
    def digest(self) -> str | None:
        found = DIGEST.search(self.image or "")
        return found.group(1) if found else None


def read(environment: Mapping[str, str], version_file: Path = VERSION_FILE) -> Settings:
    """Settings from the environment. Raises SettingsFault with all faults in one message."""
    faults: list[str] = []

    def number(name: str, default: float, low: float, high: float) -> float:
        given = environment.get(name, "").strip()
        try:
            value = float(given) if given else default
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            faults.append(f"{name} is {given!r}; it must be a number from {low:g} to {high:g}")
        return value

    def whole(name: str, default: int, low: int, high: int) -> int:
        value = number(name, default, low, high)
        if math.isfinite(value) and value != int(value):
            faults.append(f"{name} is {environment[name]!r}; it must be a whole number")
        return int(value) if math.isfinite(value) else default

    def word(name: str, default: str, pattern: str, meaning: str) -> str:
        value = environment.get(name, "").strip() or default
        if not re.fullmatch(pattern, value):
            faults.append(f"{name} is {value!r}; it must be {meaning}")
        return value

    model_uri = word(
        "MODEL_URI", "", r"|s3://[^/\s]+/\S.*|file:///.*", "empty, s3://<bucket>/models/<run id>/ or file:///<folder>"
    )
    release = word("TIDEGATE_RELEASE", "", r"[A-Za-z0-9._-]{0,64}", "at most 64 letters, digits, '.', '_' or '-'")
    image = word("TIDEGATE_IMAGE", "", r"[!-~]*", "an image reference without spaces")
    service = word("TIDEGATE_SERVICE", "inference", r"[ -~]{1,200}", "1 to 200 plain characters")
    bind_address = word("BIND_ADDRESS", "0.0.0.0", r"[0-9A-Fa-f.:]+", "an IP address")
    port = whole("PORT", 8080, 1, 65535)
    metrics_seconds = number("METRICS_SECONDS", 10, 0.1, 300)
    drain_seconds = number("DRAIN_SECONDS", 1, 0, 60)
    finish_seconds = whole("FINISH_SECONDS", 20, 1, 110)
    if faults:
        raise SettingsFault("; ".join(faults))
    return Settings(
        model_uri=model_uri,
        release=release or None,
        image=image or None,
        service=service,
        bind_address=bind_address,
        port=port,
        metrics_seconds=metrics_seconds,
        drain_seconds=drain_seconds,
        finish_seconds=finish_seconds,
        image_version=_version(version_file),
    )


def _version(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip() or "unknown"
    except FileNotFoundError:
        return "unknown"
