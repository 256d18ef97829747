"""Whether the machine has what a list of requirements pins: `python3 -m trainer.present requirements.txt`.

Ends with 0 when all of it is installed, in this version; else with 1, and says what is not. pip would say the same
after several seconds, of every attempt: it looks at what the packages need in turn, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def missing(text: str, installed: Callable[[str], str] = version) -> list[str]:
    """The requirements that are not met, or that only pip can judge: all but `name==version`."""
    return [line for line in map(_without_comment, text.splitlines()) if line and not _met(line, installed)]


def _without_comment(line: str) -> str:
    return line.partition("#")[0].strip()


def _met(requirement: str, installed: Callable[[str], str]) -> bool:
    name, pin, wanted = requirement.partition("==")
    try:
        return bool(pin) and installed(name) == wanted
    except PackageNotFoundError:
        return False


if __name__ == "__main__":
    absent = missing(Path(sys.argv[1]).read_text())
    if absent:
        print(f"not installed yet: {', '.join(absent)}", flush=True)
    sys.exit(1 if absent else 0)
