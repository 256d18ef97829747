"""A pushed image that is held until its scan's verdict: HELD -> PENDING -> ROLLING, or HELD -> FAILED.

A held release stands beside the rollout: what rolls, what waits and what a new model proposes goes on without it. A
newer image takes its place; an alarm that goes back to an earlier release does not, for it says nothing of that push.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from .releases import Release, ReleaseState
from .rollout import Rollout


def hold(rollout: Rollout, cause: str, now: datetime, *, image: str, why: str) -> tuple[Rollout, list[Release]]:
    """The rollout with this image held, and the releases that changed. A known cause changes nothing."""
    if cause in rollout.causes:
        return rollout, []
    if rollout.rolling is None and rollout.serving and rollout.serving.image == image:
        return rollout.propose(cause, now, image=image)
    known, overtaken = rollout.without_held(now)
    held = Release(number=known.count + 1, cause=cause, image=image, model=None).now(ReleaseState.HELD, now, why)
    return replace(known.knowing(cause), count=held.number, held=held), [*overtaken, held]


def let_go(
    rollout: Rollout, number: int, now: datetime, *, why: str, by_person: bool = False
) -> tuple[Rollout, list[Release]]:
    """The held release waits for its turn, as if it was proposed now; one of another number changes nothing."""
    held = rollout.held
    if held is None or held.number != number:
        return rollout, []
    changed, model = [], held.model
    if waited := rollout.waiting:
        model = model or waited.model
        changed.append(waited.now(ReleaseState.RETIRED, now, f"release {number} took its place before it rolled"))
    free = replace(held, model=model, overridden=by_person).now(ReleaseState.PENDING, now, why)
    return replace(rollout, held=None, waiting=free, image=free.image), [*changed, free]


def turn_down(
    rollout: Rollout, number: int, now: datetime, *, why: str, names: Sequence[str] = ()
) -> tuple[Rollout, list[Release]]:
    """The held release fails before it rolled, for these findings; one of another number changes nothing."""
    held = rollout.held
    if held is None or held.number != number:
        return rollout, []
    known = rollout.knowing_in(held.image or "", names)
    return replace(known, held=None), [replace(held, refused_by_scan=True).now(ReleaseState.FAILED, now, why)]


def propose_anew(
    rollout: Rollout, refused: Release, cause: str, now: datetime, *, why: str
) -> tuple[Rollout, list[Release]]:
    """A person lets the image go that its scan refused: a new release, this once. A known cause changes nothing."""
    proposed, changed = rollout.propose(cause, now, image=refused.image, why=why)
    if cause in rollout.causes or proposed.waiting is None:
        return proposed, changed
    free = replace(proposed.waiting, overridden=True)
    return replace(proposed, waiting=free), [*changed[:-1], free]
