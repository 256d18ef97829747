"""The rollout of releases: what serves, rolls, goes back, waits.

One release rolls at a time, the newest waiting one is next, the others are RETIRED unserved. A new image and a new
model both propose a release; what a proposal leaves open (the model of a pushed image, the image of a promoted model)
is filled in when it starts to roll, from what serves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from .failures import FailedTask
from .probes import Verdict
from .releases import PLACEHOLDER, Fate, Release, ReleaseState
from .service_view import Deployment, ServiceView

IMAGES_KNOWN = 5  # that people know the findings of: one that fell out is told of again


@dataclass(frozen=True)
class Findings:
    """What people know that scans found in an image, by name."""

    image: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Rollout:
    """The one truth of what serves, rolls and waits. `causes` are the proposals that were taken already.

    `going_back` is the serving release, or the placeholder, while it is rolled out again, `back_at` when that last
    ended, `lost_ways` how often it failed since; `look_at` is when the rollout is looked at next, events or not.
    """

    count: int = 0
    image: str | None = None
    model: str | None = None
    serving: Release | None = None
    previous: Release | None = None
    rolling: Release | None = None
    waiting: Release | None = None
    held: Release | None = None
    newest_push: datetime | None = None  # of the events that were taken, the latest time
    causes: tuple[str, ...] = ()
    version: int = 0
    going_back: Release | None = None
    back_at: datetime | None = None
    lost_ways: int = 0
    look_at: datetime | None = None
    findings: tuple[Findings, ...] = ()  # of the last images that had some

    @property
    def target(self) -> Release | None:
        """What is on its way: one at a time."""
        return self.rolling or self.going_back

    def propose(
        self,
        cause: str,
        now: datetime,
        *,
        image: str | None = None,
        model: str | None = None,
        takes_back: int | None = None,
        why: str = "",
    ) -> tuple[Rollout, list[Release]]:
        """The rollout with this proposal in it, and the releases that changed. A known cause changes nothing.

        A new model goes on with the image that waits, and with what was promised of that.
        """
        if cause in self.causes:
            return self, []
        known = replace(self.knowing(cause), image=image or self.image, model=model or self.model)
        if known.image is None:
            return known, []
        changed: list[Release] = []
        if image and not cause.startswith(("alarm ", "crash ")):
            known, changed = known.without_held(now)
        waited = self.waiting
        heir_of = waited if waited and waited.is_promised and image is None else None
        if waited:
            image, model = image or waited.image, model or waited.model
        serves = self.rolling is None and self._serves(image, model)
        if waited:
            instead = "what serves already was proposed" if serves else f"release {self.count + 1} took its place"
            changed.append(waited.now(ReleaseState.RETIRED, now, f"{instead} before it rolled"))
        if serves:
            return replace(known, waiting=None), changed
        inherited = f", with the image of release {heir_of.number}: {heir_of.reason}" if heir_of else ""
        proposed = Release(
            number=self.count + 1,
            cause=cause,
            image=image,
            model=model,
            since=now,
            reason=f"{why or cause}{inherited}",
            takes_back=heir_of.takes_back if heir_of else takes_back,
            overridden=heir_of is not None and heir_of.overridden,
        )
        return replace(known, count=proposed.number, waiting=proposed), [*changed, proposed]

    def refuse(self, cause: str, now: datetime, *, image: str, why: str) -> tuple[Rollout, list[Release]]:
        """A proposal that cannot be deployed: it fails before anything rolls. A known cause changes nothing."""
        if cause in self.causes:
            return self, []
        asked = Release(number=self.count + 1, cause=cause, image=image, model=None)
        refused = asked.now(ReleaseState.FAILED, now, why)
        return replace(self.knowing(cause), count=refused.number), [refused]

    def knowing(self, cause: str) -> Rollout:
        return replace(self, causes=(*self.causes, cause)[-1000:])

    def known_in(self, image: str) -> tuple[str, ...] | None:
        """None when nobody was told of anything in it."""
        return next((each.names for each in self.findings if each.image == image), None)

    def knowing_in(self, image: str, names: Iterable[str]) -> Rollout:
        known = Findings(image, tuple(dict.fromkeys((*(self.known_in(image) or ()), *names))))
        others = tuple(each for each in self.findings if each.image != image)
        return replace(self, findings=(*others, known)[-IMAGES_KNOWN:])

    def pushed(self, at: datetime | None) -> Rollout:
        """A push of this time was taken."""
        times = [time for time in (at, self.newest_push) if time]
        return replace(self, newest_push=max(times, default=None))

    def without_held(self, now: datetime) -> tuple[Rollout, list[Release]]:
        """Another image takes the held one's place."""
        if self.held is None:
            return self, []
        why = "another image took its place before its scan's verdict"
        return replace(self, held=None), [self.held.now(ReleaseState.RETIRED, now, why)]

    def dropped(self, now: datetime, why: str, kept: Release | None = None) -> tuple[Rollout, list[Release]]:
        """Nothing waits or is held any more, but for what is kept."""
        gone = [each.now(ReleaseState.RETIRED, now, why) for each in (self.waiting, self.held) if each and each != kept]
        return replace(self, waiting=kept, held=None), gone

    def _serves(self, image: str | None, model: str | None) -> bool:
        serving = self.serving
        return serving is not None and image in {None, serving.image} and model in {None, serving.model}

    def start(self, now: datetime) -> tuple[Rollout, Release | None]:
        """The waiting release starts to roll if nothing else is on its way."""
        if self.target or self.waiting is None:
            return self, None
        base = self.serving
        image = self.waiting.image or (base.image if base else self.image)
        model = self.waiting.model or (base.model if base else None) or self.model
        if base and (image, model) == (base.image, base.model):
            retired = self.waiting.now(ReleaseState.RETIRED, now, "the same image and model serve already")
            return replace(self, waiting=None), retired
        rolling = replace(self.waiting, image=image, model=model).now(ReleaseState.ROLLING, now, self.waiting.story)
        return replace(self, waiting=None, rolling=rolling, look_at=None), rolling

    def left(self, primary: Deployment, now: datetime) -> Rollout:
        """The service carries something else than what serves, which nobody proposed: what serves goes out again.

        So does a placeholder that could not be brought back. After a way back that failed it waits longer each time, so
        that what cannot come back does not churn for ever.
        """
        wanted = self.serving or (PLACEHOLDER if self.lost_ways else None)
        if self.target or self.waiting or wanted is None or primary.release == wanted.carried:
            return self
        if self.back_at and self.lost_ways and now - self.back_at < _pause_after(self.lost_ways):
            return self
        carried = f"release {primary.release}" if primary.release is not None else "the placeholder"
        back = replace(
            wanted,
            cause=f"back from {carried} (deployment {primary.deployment_id})",
            deployment=None,
            since=now,
            proved=(),
            again=0,
            reason=f"the service carries {carried}, which nobody proposed",
        )
        return replace(self, going_back=back, look_at=None)

    def deploying(self, deployment_id: str) -> Rollout:
        return self._with_target(deployment=deployment_id)

    def looked(self, view: ServiceView, look_at: datetime | None) -> Rollout:
        """Which tasks proved themselves, and when the rollout is looked at next."""
        assert self.target, "only what is on its way is looked at"
        agreed = [task.task_id for task in view.tasks if task.proof and task.proof.verdict is Verdict.AGREES]
        return replace(self._with_target(proved=tuple(agreed)), look_at=look_at)

    def anew(self) -> Rollout:
        """What is on its way is asked for once more."""
        assert self.target, "only what is on its way is asked for"
        return self._with_target(deployment=None, proved=(), again=self.target.again + 1)

    def ended(self, fate: Fate, now: datetime, failed: FailedTask | None = None) -> tuple[Rollout, list[Release]]:
        """The rollout after what was on its way ended, and the releases that changed."""
        if self.rolling is None:
            return self._back(fate, now)
        if not fate.serves:
            return self._fallen(fate, now, failed)
        served = self.rolling.now(ReleaseState.SERVING, now, self.rolling.story)
        served = replace(served, deployment=fate.deployment)
        retired = (
            [self.serving.now(ReleaseState.RETIRED, now, f"release {served.number} serves")] if self.serving else []
        )
        settled = replace(self, rolling=None, serving=served, previous=self.serving, lost_ways=0, look_at=None)
        return settled, [served, *retired]

    def _fallen(self, fate: Fate, now: datetime, failed: FailedTask | None) -> tuple[Rollout, list[Release]]:
        """The last good one goes out again, image and model together. ECS may have begun that already, or undone it."""
        assert self.rolling, "only a rolling release can fall"
        good = self.serving
        state = ReleaseState.ROLLED_BACK if good or fate.gone else ReleaseState.FAILED
        why = f"{fate.by}: {fate.why}"
        why = f"{why.removesuffix('.')}. {failed.sentence}" if failed else why
        fallen = replace(self.rolling.now(state, now, why), by=fate.by, failed=failed)
        back = replace(
            good or PLACEHOLDER,
            cause=f"back from release {fallen.number}",
            deployment=None,
            since=now,
            proved=(),
            again=0,
            reason=why,
        )
        image, model = (good.image, good.model) if good else (self.image, self.model)
        return replace(self, rolling=None, going_back=back, image=image, model=model, look_at=None), [fallen]

    def _back(self, fate: Fate, now: datetime) -> tuple[Rollout, list[Release]]:
        assert self.going_back, "only what goes back can come back"
        lost = 0 if fate.serves else self.lost_ways + 1
        back = replace(self, going_back=None, back_at=now, lost_ways=lost, look_at=None)
        if self.serving is None:
            return back, []
        way = self.going_back.cause
        ended = "it serves again" if fate.serves else f"it could not be brought back. {fate.by}: {fate.why}"
        serving = replace(self.serving, deployment=fate.deployment or self.serving.deployment, reason=f"{way}: {ended}")
        return replace(back, serving=serving), [serving]

    def _with_target(self, **changes: Any) -> Rollout:
        if self.rolling:
            return replace(self, rolling=replace(self.rolling, **changes))
        assert self.going_back, "only what is on its way changes"
        return replace(self, going_back=replace(self.going_back, **changes))


def _pause_after(lost_ways: int) -> timedelta:
    """None after the first, then 10 minutes, 30, 70, … at most four hours."""
    return timedelta(minutes=min(5 * (2 ** min(lost_ways, 9) - 2), 240))


def digests_known_to(rollout: Rollout) -> set[str]:
    """Digests that the rollout has seen: what the reconciler need not propose again."""
    releases: Iterable[Release | None] = (
        rollout.serving,
        rollout.previous,
        rollout.rolling,
        rollout.waiting,
        rollout.held,
    )
    seen = {release.image for release in releases if release and release.image}
    pushed = {cause.split(" ")[1] for cause in rollout.causes if cause.startswith("push ")}
    return seen | pushed
