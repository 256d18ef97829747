"""A release: one image digest with one model, the only thing that is ever deployed; and the rollout of releases.

PENDING -> ROLLING -> SERVING -> RETIRED, or FAILED, ROLLED_BACK; HELD before PENDING while a scan is waited for
(`holding.py`). One release rolls at a time, the newest waiting one
is next, the others are RETIRED unserved. A new image and a new model both propose a release; what a proposal leaves
open (the model of a pushed image, the image of a promoted model) is filled in when it starts to roll, from what serves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class ReleaseState(StrEnum):
    HELD = "HELD"
    PENDING = "PENDING"
    ROLLING = "ROLLING"
    SERVING = "SERVING"
    RETIRED = "RETIRED"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"


@dataclass(frozen=True)
class Release:
    """`image` is a digest, `model` a run id; `cause` says what proposed it and makes it unique."""

    number: int
    cause: str
    image: str | None
    model: str | None
    state: ReleaseState = ReleaseState.PENDING
    deployment: str | None = None
    since: datetime | None = None
    reason: str = ""
    takes_back: int | None = None  # the release that this one was proposed to go back from
    refused_by_scan: bool = False
    overridden: bool = False  # a person let it go without, or against, its scan's verdict

    def now(self, state: ReleaseState, at: datetime, reason: str) -> Release:
        return replace(self, state=state, since=at, reason=reason)


@dataclass(frozen=True)
class Deployment:
    """One ECS deployment; `release` is the number that its task definition carries, None for the placeholder."""

    deployment_id: str
    release: int | None
    is_primary: bool
    rollout: str
    reason: str = ""


@dataclass(frozen=True)
class ServiceView:
    """What ECS says now.

    `running` tasks of the primary deployment and their image `digests`; `draining` tasks of all others.
    """

    deployments: tuple[Deployment, ...]
    digests: frozenset[str]
    running: int
    desired: int
    draining: int = 0

    @property
    def primary(self) -> Deployment | None:
        return next((d for d in self.deployments if d.is_primary), None)

    def of(self, release: Release) -> Deployment | None:
        same = [d for d in self.deployments if d.release == release.number]
        return next((d for d in same if d.is_primary), same[0] if same else None)


@dataclass(frozen=True)
class Rollout:
    """The one truth of what serves, rolls and waits. `causes` are the proposals that were taken already."""

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
        """The rollout with this proposal in it, and the releases that changed. A known cause changes nothing."""
        if cause in self.causes:
            return self, []
        known = replace(self.knowing(cause), image=image or self.image, model=model or self.model)
        if known.image is None:
            return known, []
        changed: list[Release] = []
        if image and not cause.startswith("alarm "):
            known, changed = known.without_held(now)
        if waited := self.waiting:
            image, model = image or waited.image, model or waited.model
            changed.append(waited.now(ReleaseState.RETIRED, now, "a newer proposal took its place before it rolled"))
        if self.rolling is None and self.serving and self._serves(image, model):
            return replace(known, waiting=None), changed
        proposed = Release(
            number=self.count + 1,
            cause=cause,
            image=image,
            model=model,
            since=now,
            reason=why or cause,
            takes_back=takes_back,
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

    def pushed(self, at: datetime | None) -> Rollout:
        """A push of this time was taken."""
        times = [time for time in (at, self.newest_push) if time]
        return replace(self, newest_push=max(times, default=None))

    def without_held(self, now: datetime) -> tuple[Rollout, list[Release]]:
        """A newer image takes the held one's place."""
        if self.held is None:
            return self, []
        why = "a newer image took its place before its scan's verdict"
        return replace(self, held=None), [self.held.now(ReleaseState.RETIRED, now, why)]

    def _serves(self, image: str | None, model: str | None) -> bool:
        serving = self.serving
        return serving is not None and image in {None, serving.image} and model in {None, serving.model}

    def start(self, now: datetime) -> tuple[Rollout, Release | None]:
        """The waiting release starts to roll if nothing else does."""
        if self.rolling or self.waiting is None:
            return self, None
        base = self.serving
        image = self.waiting.image or (base.image if base else self.image)
        model = self.waiting.model or (base.model if base else None) or self.model
        if base and (image, model) == (base.image, base.model):
            retired = self.waiting.now(ReleaseState.RETIRED, now, "the same image and model serve already")
            return replace(self, waiting=None), retired
        rolling = replace(self.waiting, image=image, model=model).now(ReleaseState.ROLLING, now, self.waiting.cause)
        return replace(self, waiting=None, rolling=rolling), rolling

    def deploying(self, deployment_id: str) -> Rollout:
        assert self.rolling, "only a rolling release is deployed"
        return replace(self, rolling=replace(self.rolling, deployment=deployment_id))

    def settle(self, view: ServiceView, now: datetime) -> tuple[Rollout, list[Release]]:
        """What ECS's own state says about the rolling release; nothing changes while it still rolls.

        Decided by the deployment that carries our release *and* the digests that run: after a rollback ECS reports
        a completed deployment too.
        """
        release, primary = self.rolling, view.primary
        if release is None or release.deployment is None or primary is None:
            return self, []
        ours = view.of(release)
        if ours and ours.is_primary:
            steady = view.running >= view.desired and not view.draining
            if ours.rollout == "COMPLETED" and view.digests == {release.image} and steady:
                served = release.now(ReleaseState.SERVING, now, release.cause)
                served = replace(served, deployment=ours.deployment_id)
                retired = (
                    [self.serving.now(ReleaseState.RETIRED, now, f"release {served.number} serves")]
                    if self.serving
                    else []
                )
                return replace(self, rolling=None, serving=served, previous=self.serving), [served, *retired]
            if ours.rollout == "FAILED":
                return self._fallen(ReleaseState.FAILED, ours.reason, now)
            return self, []
        if primary.release != release.number and (ours is None or ours.rollout in {"FAILED", "COMPLETED"}):
            return self._fallen(ReleaseState.ROLLED_BACK, ours.reason if ours else "ECS ended the deployment", now)
        return self, []

    def _fallen(self, state: ReleaseState, why: str, now: datetime) -> tuple[Rollout, list[Release]]:
        assert self.rolling, "only a rolling release can fall"
        fallen = self.rolling.now(state, now, why or "ECS gave no reason")
        good = self.serving
        return replace(
            self, rolling=None, image=good.image if good else self.image, model=good.model if good else self.model
        ), [fallen]


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
