"""What every flow shares: the clock's type, a second try after a conflict, and telling people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from ..ports import Conflict, Ledger, Notifier

Clock = Callable[[], datetime]
T = TypeVar("T")
TRIES = 8


def on_conflict_again(step: Callable[[], T]) -> T:
    """Run a read-decide-write step again when somebody wrote between. Raises Conflict after the last try."""
    for _ in range(TRIES - 1):
        try:
            return step()
        except Conflict:
            continue
    return step()


def tell_people(ledger: Ledger, notifier: Notifier) -> int:
    """Send what was noted and not sent yet; return how many.

    Noted before it is sent, and crossed off after: a function killed in between sends again, and never forgets.
    """
    unsent = ledger.unsent()
    for alert in unsent:
        notifier.tell(alert)
        ledger.sent(alert)
    return len(unsent)
