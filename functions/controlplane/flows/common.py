"""What every flow shares: the clock's type, a second try after a conflict, and telling people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ParamSpec, TypeVar

from ..ports import Conflict, Ledger, Notifier

Clock = Callable[[], datetime]
T = TypeVar("T")
P = ParamSpec("P")
TRIES = 8


def on_conflict_again(step: Callable[[], T]) -> T:
    """Run a read-decide-write step again when somebody wrote between. Raises Conflict after the last try."""
    for _ in range(TRIES - 1):
        try:
            return step()
        except Conflict:
            continue
    return step()


def then_tell(act: Callable[P, T], tell: Callable[[], int]) -> Callable[P, T]:
    """`act`, and people are told of what was noted, also when it fails: what is noted is true and done."""

    def acted(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            done = act(*args, **kwargs)
        except Exception:
            tell()
            raise
        tell()
        return done

    return acted


def tell_people(ledger: Ledger, notifier: Notifier, clock: Clock) -> int:
    """Send what was noted and not sent yet; return how many.

    Noted before it is sent, claimed so that one function sends it, and crossed off after. A function killed between
    sending and crossing off makes a second mail; killed earlier, the next one to look sends it. None is forgotten.
    """
    told = 0
    faults: list[Exception] = []
    for alert in ledger.unsent():
        if not ledger.claim(alert, clock()):
            continue
        try:
            notifier.tell(alert)
        except Exception as fault:  # noqa: BLE001  one that cannot be sent must not keep the others back
            faults.append(fault)
            continue
        ledger.sent(alert)
        told += 1
    if faults:
        raise ExceptionGroup(f"{len(faults)} alerts could not be sent", faults)
    return told
