"""What is heard of a machine: from EC2, or from the trainer on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MachineChanged:
    """`alive`: True = up, False = going or gone, None = not up yet, or only warned that EC2 may take it back."""

    machine: str
    alive: bool | None
    is_warning: bool = False


@dataclass(frozen=True)
class AttemptEnded:
    """The trainer wrote why its attempt ends (outcome.json); the machine may go on for some seconds."""

    run_id: str
    attempt: int
