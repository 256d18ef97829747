"""A person's decision: what rolls falls, or a release like any other comes of it; ledger and alert say who and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..domain import alerts
from ..domain.decisions import Action, AlreadyDone, Decision, Plan, RefusedDecision, plan, read, roll_back
from ..domain.holding import let_go, propose_anew
from ..domain.releases import Release, ReleaseState
from ..domain.rollout import Rollout
from ..ports import Images, Ledger
from .common import Clock
from .releasing import Releasing


@dataclass(frozen=True)
class Decisions:
    ledger: Ledger
    images: Images
    releasing: Releasing
    clock: Clock

    def take(self, told: object, request_id: str) -> dict[str, Any]:
        """The answer for the person: `done`, and a sentence. A mistake of theirs is an answer, never a fault."""
        try:
            decision = read(told, request_id)
            if self.releasing.knows(decision.cause):
                self.releasing.go_on()
                return _answer(True, "This decision was carried out before; nothing was done again.")
            if decision.dry_run:
                chosen = self._plan(decision, self.ledger.rollout(), self.clock())
                return _answer(False, f"Would do: {chosen.sentence}.")
            return self._carry_out(decision)
        except AlreadyDone as why:
            self.releasing.go_on()
            return _answer(True, str(why))
        except RefusedDecision as why:
            return _answer(False, str(why))

    def _carry_out(self, decision: Decision) -> dict[str, Any]:
        """Planned on the rollout that is changed: of two people who decide at once, one finds what the other did."""
        plans: list[Plan] = []

        def rule(rollout: Rollout, now: datetime) -> tuple[Rollout, list[Release]]:
            plans.append(self._plan(decision, rollout, now))
            return _carried_out(decision, plans[-1], rollout, now)

        def noted(release: Release, after: Rollout) -> list[alerts.Alert]:
            if release.by:
                return [alerts.release_settled(release, after.serving, self.releasing.service_name)]
            is_new = release.state is ReleaseState.PENDING
            return [alerts.person_decided(decision, plans[-1], release)] if is_new else []

        if not self.releasing.change(rule, noted):
            return _answer(False, "Nothing was done: the release changed at this moment. Look again.")
        return _answer(True, f"Done: {plans[-1].sentence}.")

    def _plan(self, decision: Decision, rollout: Rollout, now: datetime) -> Plan:
        chosen = plan(decision, rollout, self.ledger.all_releases(), now)
        # What serves comes back whether its image is still there or not: what rolls has to be stopped all the same.
        if chosen.release.image and not chosen.by_the_fall and self.images.manifest(chosen.release.image) is None:
            raise RefusedDecision(
                f"The image of release {chosen.release.number} is not in the repository any more; push it again."
            )
        return chosen


def _carried_out(decision: Decision, chosen: Plan, rollout: Rollout, now: datetime) -> tuple[Rollout, list[Release]]:
    if decision.action is Action.ROLL_BACK:
        return roll_back(decision, chosen, rollout, now)
    release = chosen.release
    if release.refused_by_scan:
        return propose_anew(rollout, release, decision.cause, now, why=decision.reason)
    freed, changed = let_go(rollout, release.number, now, why=decision.reason, by_person=True)
    return (freed.knowing(decision.cause), changed) if changed else (rollout, [])


def _answer(done: bool, said: str) -> dict[str, Any]:
    return {"done": done, "said": said}
