"""A new image or a new champion proposes a release; one rolls at a time. `settling.py` says how it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ..domain import alerts
from ..domain.releases import Release, ReleaseState
from ..domain.rollout import Rollout
from ..ports import Ledger, Record, Service
from .common import Clock, on_conflict_again


@dataclass(frozen=True)
class Releasing:
    ledger: Ledger
    service: Service
    clock: Clock
    service_name: str

    def propose(self, cause: str, *, image: str | None = None, model: str | None = None) -> list[str]:
        """Propose a release and roll it if nothing else rolls. The same cause twice is one proposal."""

        return self.change(lambda rollout, now: rollout.propose(cause, now, image=image, model=model))

    def change(
        self,
        rule: Callable[[Rollout, datetime], tuple[Rollout, list[Release]]],
        noted: Callable[[Release, Rollout], Sequence[alerts.Alert]] = lambda _release, _rollout: (),
    ) -> list[str]:
        """Let a rule change the rollout, note what is to be told of each release that it changed, and go on."""

        def step() -> list[Release]:
            rollout = self.ledger.rollout()
            ruled, changed = rule(rollout, self.clock())
            if ruled != rollout:
                alerted = [alert for release in changed for alert in noted(release, ruled)]
                self.save(rollout, ruled, changed, alerted)
            return changed

        changed = on_conflict_again(step)
        return [told(release) for release in [*changed, *self.advance()]]

    def go_on(self) -> list[str]:
        """Start what waits, and go on where a function died."""
        return [told(release) for release in self.advance()]

    def knows(self, cause: str) -> bool:
        return cause in self.ledger.rollout().causes

    def refuse(self, cause: str, *, image: str, why: str, pushed_at: datetime | None = None) -> list[str]:
        """Record and tell that what was proposed cannot be deployed; what serves stays."""
        return self.change(
            lambda rollout, now: rollout.pushed(pushed_at).refuse(cause, now, image=image, why=why),
            lambda release, rollout: [alerts.release_refused(release, rollout.serving, self.service_name)],
        )

    def restore(self) -> list[str]:
        """Roll the serving release out again when the service carries another one.

        Written down before ECS is asked, so it is judged and told like any way back, and a release that began to roll
        after the look is not overrun: the ledger moved, and whoever comes next looks again.
        """

        def step() -> list[Release]:
            rollout = self.ledger.rollout()
            primary = self.service.view().primary
            going = rollout.left(primary, self.clock()) if primary else rollout
            back = going.going_back
            if going == rollout or back is None:
                return []
            serving = [replace(rollout.serving, reason=back.reason)] if rollout.serving else []
            self.save(rollout, going, serving, [alerts.service_left(back, self.service_name)])
            return [back]

        left = on_conflict_again(step)
        return [told(release) for release in [*left, *self.advance()]] if left else []

    def advance(self) -> list[Release]:
        """Start the waiting release; or go on with one whose function died before ECS was asked.

        A service that goes back asks for the last good release in the same way.
        """

        changed: list[Release] = []

        def step() -> None:
            rollout = self.ledger.rollout()
            started, release = rollout.start(self.clock())
            if release:
                rollout = self.save(rollout, started, [release])
                changed.append(release)
            if rollout.target and rollout.target.deployment is None:
                deployment = self.service.deploy(rollout.target)
                deploying = rollout.deploying(deployment)
                rolling = [deploying.rolling] if deploying.rolling else []
                self.save(rollout, deploying, rolling, why=f"ECS deployment {deployment}")

        on_conflict_again(step)
        return changed

    def save(
        self,
        before: Rollout,
        after: Rollout,
        changed: Sequence[Release],
        noted: Sequence[alerts.Alert] = (),
        why: str | None = None,
        beside: tuple[alerts.Alert, Record] | None = None,
    ) -> Rollout:
        """The rollout, its releases that changed and the alerts, in one transaction with its history.

        `beside`: what the change comes from, such as an alarm, and what is told of that.
        """
        now = self.clock()
        was = {
            known.number: known.state
            for known in (before.serving, before.rolling, before.waiting, before.held)
            if known
        }
        records = [
            Record(now, f"release {release.number}", was.get(release.number, ""), release.state, why or release.reason)
            for release in changed
        ]
        waited = before.waiting
        if waited and waited.is_promised and waited.number in {each.number for each in changed if _is_over(each)}:
            noted = [*noted, alerts.release_overtaken(waited, after.waiting, after.serving, self.service_name)]
        if beside:
            noted, records = [*noted, beside[0]], [*records, beside[1]]
        return self.ledger.save_rollout(after, changed, records, noted)


def _is_over(release: Release) -> bool:
    return release.state is ReleaseState.RETIRED


def told(release: Release) -> str:
    return f"release {release.number} {release.state}: {release.reason}"
