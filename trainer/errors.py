"""The ways in which an attempt ends without a model.

    Ended
    ├── Failed        trying again cannot help: the data, the knobs or the spec are at fault
    └── Interrupted   the machine is going away: another one goes on from the checkpoint

Anything else that is raised is a defect.
"""

from __future__ import annotations


class Ended(Exception):
    """The attempt is over; the message is one sentence for people."""


class Failed(Ended):
    """Trying again cannot help."""


class Interrupted(Ended):
    """Another machine goes on from the checkpoint."""
