"""What rolls is looked at until it has an end: it serves, or the last good release goes out again and people are told.

ECS tells of deployments, but not of tasks that became able to answer, nor of what never ends. So the first look at
something on its way asks for another one a little later, and that one for the next: one chain a rollout, which the
rollout document holds together. Events make it sooner; the reconciler makes up for a chain that broke.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ..domain import alerts, crashes
from ..domain.judging import judge
from ..domain.probes import ChangedGoldenSet, GoldenRow, Proof, Question, Verdict
from ..domain.releases import Fate, Release, ReleaseState
from ..domain.rollout import Rollout
from ..domain.service_view import ServiceView
from ..ports import Bucket, FailedTasks, Ledger, Looks, Prober, Record, Service
from .common import Clock, on_conflict_again
from .releasing import Releasing, told

BETWEEN_LOOKS = timedelta(seconds=10)


@dataclass(frozen=True)
class TakingBack:
    """Ends what is on its way."""

    failed_tasks: FailedTasks
    releasing: Releasing
    clock: Clock

    def end(self, rollout: Rollout, fate: Fate, beside: tuple[alerts.Alert, Record] | None = None) -> list[Release]:
        """Write the end down, with what is known of the task that failed, and note who is to be told.

        `beside`: what it ends by, when that comes from outside, such as an alarm. Raises Conflict.
        """
        target = rollout.target
        assert target, "only what is on its way ends"
        failed = None if fate.serves else self.failed_tasks.of(target, fate.task)
        settled, changed = rollout.ended(fate, self.clock(), failed)
        if rollout.rolling:
            ended = [release for release in changed if release.state is not ReleaseState.RETIRED]
            noted = [alerts.release_settled(each, settled.serving, self.releasing.service_name) for each in ended]
        else:
            noted = [alerts.went_back(target, fate, failed, self.releasing.service_name)]
        self.releasing.save(rollout, settled, changed, noted, beside=beside)
        return changed


@dataclass(frozen=True)
class Settling:
    ledger: Ledger
    service: Service
    bucket: Bucket
    prober: Prober
    looks: Looks
    taking_back: TakingBack
    releasing: Releasing
    clock: Clock
    longest: timedelta

    def settle(self) -> list[str]:
        """Look at ECS and at the new tasks; settle what rolls; start what waits; look again while anything rolls."""
        changed = on_conflict_again(self._step)
        started = self.releasing.advance()
        on_conflict_again(self._look_again)
        return [told(release) for release in [*changed, *started]]

    def _step(self) -> Sequence[Release]:
        rollout = self.ledger.rollout()
        target = rollout.target
        if target is None:
            return []
        try:
            view = self._asked(target, self.service.view())
        except ChangedGoldenSet as why:
            return self.taking_back.end(rollout, Fate(serves=False, by="the smoke test", why=str(why)))
        crashed = crashes.while_rolling(rollout, self.taking_back.failed_tasks.crashed(target))
        fate = judge(target, view, self.clock(), self.longest, crashed)
        if fate and fate.again:
            return self._again(rollout, fate)
        if fate:
            return self.taking_back.end(rollout, fate)
        seen = rollout.looked(view, rollout.look_at)
        if seen != rollout:
            self.ledger.save_rollout(seen, [], [])
        return []

    def _again(self, rollout: Rollout, fate: Fate) -> Sequence[Release]:
        """Written down as not asked for: then it is asked for as ever, also when the function dies here."""
        anew = rollout.anew()
        rolling = [anew.rolling] if anew.rolling else []
        self.releasing.save(rollout, anew, rolling, why=f"it rolls out again, for {fate.why}")
        return rolling

    def _asked(self, target: Release, view: ServiceView) -> ServiceView:
        """The view with what every task proved. A task that agreed is not asked again."""
        primary = view.primary
        if target.deployment is None or primary is None or primary.release != target.number or not view.tasks:
            return view
        known = {task_id: Proof(Verdict.AGREES) for task_id in target.proved}
        to_ask = {task.task_id: task.address for task in view.tasks if task.task_id not in known and task.address}
        if not to_ask:
            return view.with_proofs(known)
        rows = golden_rows(self.bucket, target)
        question = Question(target.number, target.image or "", target.model, rows)
        answers = self.prober.ask(question, list(to_ask.values()))
        proofs = known | {task_id: answers[address] for task_id, address in to_ask.items() if address in answers}
        if any(proof.verdict is not Verdict.AGREES for proof in proofs.values()):
            view = self.service.view()  # a task that ended meanwhile is no witness
        return view.with_proofs(proofs)

    def _look_again(self) -> None:
        """Written down before it is asked for: whoever comes after the time finds the chain broken, and mends it."""
        rollout, now = self.ledger.rollout(), self.clock()
        if rollout.target is None or _comes(rollout.look_at, now):
            return
        self.ledger.save_rollout(replace(rollout, look_at=now + BETWEEN_LOOKS), [], [])
        self.looks.again(BETWEEN_LOOKS)


def _comes(look_at: datetime | None, now: datetime) -> bool:
    return look_at is not None and look_at > now


def golden_rows(bucket: Bucket, target: Release) -> tuple[GoldenRow, ...]:
    """What goes back proved itself when it came: it has to come back also when its golden set was lost since.

    Raises ChangedGoldenSet for what never served.
    """
    try:
        return bucket.golden(target.model) if target.model else ()
    except ChangedGoldenSet:
        if target.is_new:
            raise
        return ()
