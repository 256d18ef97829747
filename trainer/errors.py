"""The ways in which an attempt ends without a model.

    Ended
    ├── Failed        trying again cannot help: the data, the knobs or the spec are at fault
    ├── Interrupted   the machine is going away: another one goes on from the checkpoint
    └── Stopped       a limit of the spec is reached: it goes on only when a person raises the limit

Anything else that is raised is a defect.
"""

from __future__ import annotations

from typing import Literal


class Ended(Exception):
    """The attempt is over; the message is one sentence for people."""


class Failed(Ended):
    """Trying again cannot help."""


class Interrupted(Ended):
    """Another machine goes on from the checkpoint."""

    def __init__(self, reason: str, cause: Literal["spot", "rebalance", "sigterm"]) -> None:
        super().__init__(reason)
        self.cause = cause


class Stopped(Ended):
    """It goes on only when a person raises the limit."""

    def __init__(self, reason: str, cause: Literal["hours", "cost"]) -> None:
        super().__init__(reason)
        self.cause = cause
