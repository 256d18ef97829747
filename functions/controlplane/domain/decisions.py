"""What a person decides about releases: to take back what rolls or serves, or to let one go that its scan holds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from .releases import BY_A_PERSON, PLACEHOLDER, Fate, Release, ReleaseState
from .rollout import Rollout

DECISION_ID = re.compile(r"^[A-Za-z0-9-]{1,64}$")
LONGEST_WHY, LONGEST_BY = 500, 256
JUST = timedelta(minutes=10)  # so long two people mean the same rollback, or one whose first call seemed to fail


class RefusedDecision(Exception):
    """It cannot be done; the message is an answer for the person."""


class AlreadyDone(Exception):
    """It was asked for before, and is under way or has just been done; the message is an answer for the person."""


class Action(StrEnum):
    ROLL_BACK = "roll_back"
    RELEASE = "release"


@dataclass(frozen=True)
class Decision:
    """`release` None: the last good one, or the one that is held. events/contracts/decision.json."""

    decision_id: str
    action: Action
    release: int | None
    why: str
    by: str
    dry_run: bool = False

    @property
    def cause(self) -> str:
        """The same decision delivered twice has the same."""
        return f"decision {self.decision_id}"

    @property
    def reason(self) -> str:
        return f"{self.by}: {self.why}"


@dataclass(frozen=True)
class Plan:
    """`release` is gone back to, let go while it is HELD, or (its image) proposed anew after its scan refused it.

    `stops`: what rolls falls at once. `by_the_fall`: what is gone back to serves, or is the placeholder, and comes back
    by that alone; nothing else is proposed.
    """

    release: Release
    takes_back: int | None
    sentence: str
    stops: bool = False
    by_the_fall: bool = False


def read(told: object, request_id: str) -> Decision:
    """Raises RefusedDecision, with all that is wrong."""
    if not isinstance(told, Mapping):
        raise RefusedDecision("A decision is a JSON object: action, release, why, by.")
    faults = []
    if told.get("action") not in list(Action):
        faults.append(f"action must be one of {', '.join(Action)}")
    release = told.get("release")
    if release is not None and (not isinstance(release, int) or isinstance(release, bool) or release < 1):
        faults.append("release must be the number of a release, or null")
    why, by = _line(told.get("why")), _line(told.get("by"))
    if not why or len(why) > LONGEST_WHY:
        faults.append(f"why must say why, in at most {LONGEST_WHY} letters")
    if not by or len(by) > LONGEST_BY:
        faults.append(f"by must say who decides, in at most {LONGEST_BY} letters")
    decision_id = told.get("id") or request_id
    if not isinstance(decision_id, str) or not DECISION_ID.match(decision_id):
        faults.append("id must be letters, digits and dashes, at most 64")
    if not isinstance(told.get("dry_run", False), bool):
        faults.append("dry_run must be true or false")
    if faults:
        raise RefusedDecision(f"Nothing was done: {'; '.join(faults)}.")
    return Decision(
        str(decision_id), Action(told["action"]), release, why, by, dry_run=bool(told.get("dry_run", False))
    )


def plan(decision: Decision, rollout: Rollout, releases: Sequence[Release], now: datetime) -> Plan:
    """Raises RefusedDecision, AlreadyDone."""
    known = {release.number: release for release in releases}
    if decision.release is not None and decision.release not in known:
        raise RefusedDecision(f"There is no release {decision.release}; the newest is {max(known, default=0)}.")
    named = known[decision.release] if decision.release is not None else None
    if decision.action is Action.ROLL_BACK:
        if told := _done_already(rollout, named, now):
            raise AlreadyDone(told)
        return _back(rollout, named, releases)
    return _let_go(rollout, named)


def roll_back(decision: Decision, chosen: Plan, rollout: Rollout, now: datetime) -> tuple[Rollout, list[Release]]:
    """What rolls falls at once, as by anything else; another release than the one that comes back waits for that.

    What waited or was held is dropped, but for a new model when what serves comes back. A known decision changes
    nothing. The image of a first release that fell is forgotten: a new model would roll it out again.
    """
    if decision.cause in rollout.causes:
        return rollout, []
    fallen: list[Release] = []
    kept = _goes_on(rollout) if chosen.by_the_fall else None
    if chosen.stops:
        rollout, fallen = rollout.ended(Fate(serves=False, by=BY_A_PERSON, why=decision.reason), now)
    if rollout.serving is None:
        rollout = replace(rollout, image=None)
    after, dropped = rollout.dropped(now, "a person went back to what was there before", kept)
    if chosen.by_the_fall:
        return after.knowing(decision.cause), [*fallen, *dropped]
    image, model = chosen.release.image, chosen.release.model
    after, proposed = after.propose(
        decision.cause, now, image=image, model=model, takes_back=chosen.takes_back, why=decision.reason
    )
    return after, [*fallen, *dropped, *proposed]


def _goes_on(rollout: Rollout) -> Release | None:
    """A new model that waits for what serves: nobody said anything against it."""
    waiting = rollout.waiting
    return waiting if waiting and waiting.image is None and rollout.serving else None


def last_good(rollout: Rollout, releases: Sequence[Release]) -> Release | None:
    """What served before what serves, and was not taken back."""
    bad = {release.takes_back for release in releases}
    serving = rollout.serving
    good = [
        release
        for release in releases
        if has_served(release)
        and release.number not in bad
        and not (serving and _same(release, serving))
        and (release.model or not (serving and serving.model))
    ]
    return max(good, key=lambda release: (str(release.since), release.number), default=None)


def has_served(release: Release) -> bool:
    return release.state is ReleaseState.RETIRED and release.deployment is not None


def _done_already(rollout: Rollout, named: Release | None, now: datetime) -> str | None:
    """A way back to the same end that is under way, or that has just come to it; None when there is none."""

    def meant(release: Release) -> bool:
        return named is None or _same(named, release)

    waiting, rolling, back, serving = rollout.waiting, rollout.rolling, rollout.going_back, rollout.serving
    if waiting and waiting.is_rollback and meant(waiting) and not _can_be_stopped(rolling):
        return f"Already on its way: {_takes_back(waiting)}{_when(rolling, back)}. Nothing was done again."
    after = f" Release {waiting.number} waits, and rolls after it." if waiting else ""
    if rolling and rolling.is_rollback and meant(rolling):
        return f"Already on its way: {_takes_back(rolling)}. Nothing was done again.{after}"
    if rolling and named and named.number != rolling.number and _same(named, rolling):
        return (
            f"Already on its way: release {rolling.number} rolls, with that image and model. Nothing was done.{after}"
        )
    if back and meant(back):
        return f"Already on its way: {back.name} goes out again ({back.reason}). Nothing was done again.{after}"
    just_back = rollout.back_at if rollout.back_at and not rollout.lost_ways and now - rollout.back_at <= JUST else None
    if serving is None and named is None and just_back and not rollout.target:
        since = f"{just_back:%H:%M:%S} UTC"
        return f"Already done: no release serves, the placeholder does since {since}. Nothing was done again."
    if rollout.target or serving is None or serving.since is None or not meant(serving):
        return None
    further = "Nothing was done again. To go back further, name a release (TO=…)."
    if serving.is_rollback and now - serving.since <= JUST:
        return f"Already done: {_takes_back(serving)}, and serves since {serving.since:%H:%M:%S} UTC. {further}"
    if just_back and just_back >= serving.since:
        return f"Already done: release {serving.number} serves again since {just_back:%H:%M:%S} UTC. {further}"
    return None


def _takes_back(release: Release) -> str:
    left = f"release {release.takes_back}" if release.takes_back else "what served"
    return f"release {release.number} takes {left} back ({release.reason})"


def _can_be_stopped(rolling: Release | None) -> Release | None:
    """Stopping a rollback for a third release would first bring back what it takes back."""
    return rolling if rolling and not rolling.served_before else None


def _when(rolling: Release | None, back: Release | None) -> str:
    if rolling:
        return f" when {rolling.name} serves"
    return f" when {back.name} has come back" if back else ""


def _back(rollout: Rollout, named: Release | None, releases: Sequence[Release]) -> Plan:
    rolling, serving = rollout.rolling, rollout.serving
    if rolling and (named is None or (serving and _same(named, serving))):
        back = serving or PLACEHOLDER
        sentence = f"takes release {rolling.number}, which rolls, back at once: {_goes_out_again(back)}"
        return Plan(back, rolling.number, f"{sentence}{_with_it(rollout)}", stops=True, by_the_fall=True)
    if named:
        _must_have_served(named)
    if serving is None:
        raise RefusedDecision("No release serves; there is nothing to roll back.")
    target = named or last_good(rollout, releases)
    if target is None:
        raise RefusedDecision("There is no earlier release that served and was not taken back. Name one by its number.")
    if _same(target, serving):
        raise RefusedDecision(f"Image and model of release {target.number} serve already, as release {serving.number}.")
    if target.model is None and serving.model is not None:
        raise RefusedDecision(f"Release {target.number} had no model: the service would answer no prediction.")
    stopped = _can_be_stopped(rolling)
    left = serving if stopped or rolling is None else rolling
    falls = f"takes release {stopped.number}, which rolls, back at once: " if stopped else ""
    when = _when(None, serving) if stopped else _when(rolling, rollout.going_back)
    return Plan(
        target,
        left.number,
        f"{falls}goes back from release {left.number} to image {target.image} and model {target.model or 'none'} "
        f"of release {target.number}{when}{_with_it(rollout, of_another=True)}",
        stops=stopped is not None,
    )


def _with_it(rollout: Rollout, *, of_another: bool = False) -> str:
    """What becomes of what waits or is held."""
    goes_on = None if of_another else _goes_on(rollout)
    dropped = [each for each in (rollout.waiting, rollout.held) if each and each != goes_on]
    told = [
        f"release {each.number}, which {'is held' if each == rollout.held else 'waits'}, is dropped" for each in dropped
    ]
    if goes_on:
        told.append(f"release {goes_on.number}, a new model, rolls after it")
    return "".join(f"; {each}" for each in told)


def _goes_out_again(back: Release) -> str:
    if back.is_placeholder:
        return "no release served before it, so the placeholder goes out again"
    return f"image {back.image} and model {back.model or 'none'} of release {back.number} go out again"


def _must_have_served(release: Release) -> None:
    if release.state is ReleaseState.SERVING:
        raise RefusedDecision(f"Release {release.number} serves already.")
    if not has_served(release):
        raise RefusedDecision(
            f"Release {release.number} never served: it is {release.state} ({release.reason}). "
            "Push its image under a new tag, if you want it."
        )


def _let_go(rollout: Rollout, named: Release | None) -> Plan:
    release = named or rollout.held
    if release is None:
        raise RefusedDecision("No release is held.")
    is_held = rollout.held is not None and rollout.held.number == release.number
    if not is_held and not (release.state is ReleaseState.FAILED and release.refused_by_scan):
        raise RefusedDecision(
            f"Release {release.number} is {release.state} ({release.reason}); only one that is HELD, or that its scan "
            "refused, can be let go."
        )
    serving = rollout.serving
    if rollout.rolling is None and serving and serving.image == release.image:
        raise RefusedDecision(f"The image of release {release.number} serves already, as release {serving.number}.")
    how = "is let go" if is_held else "is proposed anew, although its scan refused it"
    dropped = f"; release {rollout.held.number}, which is held, is dropped" if rollout.held and not is_held else ""
    return Plan(release, None, f"release {release.number} {how}: image {release.image}{dropped}")


def _same(one: Release, other: Release) -> bool:
    return (one.image, one.model) == (other.image, other.model)


def _line(text: object) -> str:
    """One line, without what would break a mail."""
    return " ".join(text.split()) if isinstance(text, str) and text.isprintable() else ""
