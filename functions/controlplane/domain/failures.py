"""What is known of a task of a release that failed: how it ended, and what it said last."""

from __future__ import annotations

import re
from dataclasses import dataclass

LINES = 20
LINE_WIDTH = 300
SECRETS = re.compile(
    r"(?i)\b((?:authorization|password|passwd|secret|token|api[_-]?key)[\"']?\s*[=:]\s*)(?:bearer\s+|basic\s+)?[^\s,;]+"
)
KEY_IDS = re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{12,}\b")


@dataclass(frozen=True)
class FailedTask:
    """`log` are its last lines, as people may read them; `lacking` says why there are none."""

    task_id: str
    stop_code: str = ""
    reason: str = ""
    exit_code: int | None = None
    log: tuple[str, ...] = ()
    lacking: str = ""

    @property
    def sentence(self) -> str:
        code = "" if self.exit_code is None else f"exit code {self.exit_code}"
        told = ", ".join(part for part in (self.stop_code, self.reason, code) if part)
        return f"Task {self.task_id}: {told or 'it runs'}."

    @property
    def last_words(self) -> str:
        if not self.log:
            return f"Its last log lines are not there: {self.lacking or 'it wrote none'}."
        return f"The last {len(self.log)} lines of its log:\n" + "\n".join(f"  | {line}" for line in self.log)


def readable(line: str) -> str:
    """One line for people: printable, not too long, and without what looks like a secret."""
    printable = "".join(letter if letter.isprintable() else " " for letter in line.rstrip())
    masked = KEY_IDS.sub(r"\1***", SECRETS.sub(r"\1***", printable))
    return masked if len(masked) <= LINE_WIDTH else masked[: LINE_WIDTH - 1] + "…"
