"""What `eval "$(make -s env)"` does to a person's shell: every tool in it talks to the local cloud, and to no other.

Promise: no name set here is a parameter of the Makefile, so that it cannot change what a target does (tested).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from local.deploy import shell_name

UNSET = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN")  # each would win over, or spoil, the keys set here


def settings(access: Mapping[str, str], outputs: Mapping[str, str], url: str | None) -> dict[str, str]:
    """Address and keys, and every output of the stack by its name."""
    found = {shell_name(name): value for name, value in outputs.items()}
    if url:
        found["URL"] = url
    if "ALERTS_TOPIC" in found:
        found["TOPIC"] = found["ALERTS_TOPIC"]
    return {**access, **found, "SAM_CLI_TELEMETRY": "0"}


def script(wanted: Mapping[str, str], programs: Path) -> str:
    """For the shell to evaluate; `programs` is where this environment's aws and sam are."""
    return "\n".join(
        [
            f"unset {' '.join(UNSET)}",
            *(f"export {name}={shlex.quote(value)}" for name, value in wanted.items()),
            f'export PATH={shlex.quote(str(programs))}:"$PATH"',
        ]
    )
