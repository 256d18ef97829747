"""From a run that waits to its machine: whose turn it is, which pools are asked, and what a refusal means.

    waiting -> (slot, dataset, money free) claimed -> machine asked for -> guard set -> written down
                                                                   -> refused: waits for longer each time, or FAILED
The claim is written before EC2 is asked, with the very question. Whoever dies in between leaves a claim whose lease
runs out; then the same question with the same token gets the same machine. A machine has its guard before it is
written down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ..domain import account, alerts
from ..domain.account import Quota
from ..domain.caps import Allowance, OverBudget, UsedUp
from ..domain.pools import (
    AFTER_FAULT,
    AFTER_REFUSAL,
    Ask,
    Pool,
    Rest,
    SpotPolicy,
    lifecycle,
    rested,
    time_left,
    too_few,
    wait_after,
)
from ..domain.prices import PriceList
from ..domain.refusals import NO_SPOT_ROLE, SPOT_ROLE, Judgement, Kind, Refusal, judge
from ..domain.runs import Run, RunState
from ..ports import Account, Bucket, Conflict, Fleet, Guard, LaunchRefused, Ledger, Timer
from .common import Clock, on_conflict_again
from .runbook import RunBook
from .spending import Spending

GUARD_MARGIN = timedelta(minutes=10)  # after the machine's own timer, which is to be the first


@dataclass(frozen=True)
class LaunchPolicy:
    """`longest`: how long a machine may live; `first_wait`: the gap after a first refusal, doubled by each more."""

    pools: tuple[Pool, ...]
    max_concurrent: int
    longest: timedelta
    first_wait: timedelta
    spot: SpotPolicy


@dataclass(frozen=True)
class Launching:
    ledger: Ledger
    bucket: Bucket
    fleet: Fleet
    guard: Guard
    account: Account
    timer: Timer
    clock: Clock
    jitter: Callable[[], float]
    book: RunBook
    spending: Spending
    policy: LaunchPolicy

    def work_queue(self) -> list[str]:
        """Launch what may be launched now; return the runs that got a machine."""
        launched = []
        for run_id, _ in self.ledger.queue().active:
            run = self.ledger.run(run_id)
            if run and run.may_be_claimed(self.clock()):
                launched += self._launch(run_id)
        tried: set[str] = set()
        while (next_up := self.ledger.queue().next_up(self.policy.max_concurrent)) and next_up not in tried:
            tried.add(next_up)
            launched += self._launch(next_up)
        return launched

    def guard_machine(self, machine_id: str, launched_at: datetime) -> None:
        """Its last end: whatever became of us by then."""
        self.guard.set(machine_id, launched_at + self.policy.longest + GUARD_MARGIN)

    def _launch(self, run_id: str) -> list[str]:
        waiting = self.ledger.run(run_id)
        if waiting is None or not waiting.may_be_claimed(self.clock()):
            return []
        prices = self.spending.price_list()
        try:
            run = on_conflict_again(lambda: self._claim(run_id, prices))
        except Conflict:
            return []
        if run is None:
            return []
        self._write_spec(run, prices)
        try:
            machine = self.fleet.launch(run)
        except LaunchRefused as refused:
            self._refused(run, refused.refusals)
            return []
        self.guard_machine(machine.machine_id, self.clock())
        few = too_few(self.policy.pools)
        told = [alerts.few_pools(few)] if few else []
        what = f"machine {machine.machine_id}, {machine.machine_type} {machine.lifecycle}"
        try:
            self.book.save(run.on(machine, self.clock(), prices), "LAUNCHING", what, alerts=told)
        except Conflict:
            now = self.ledger.run(run_id)
            if now and now.state.is_final:  # an earlier machine published after all
                self.fleet.end(machine.machine_id)
                return []
            raise
        return [run_id]

    def _claim(self, run_id: str, prices: PriceList) -> Run | None:
        """None when somebody else was faster, or there is no money for it."""
        run, queue, now = self.ledger.run(run_id), self.ledger.queue(), self.clock()
        if run is None or not run.may_be_claimed(now) or not queue.has_slot(run, self.policy.max_concurrent):
            return None
        kind, why = lifecycle(run.spot_tries, run.created_at, now, self._left(run, now), self.policy.spot)
        ask = Ask(kind, rested(self.policy.pools, self.ledger.rests(), kind, now))
        claimed = run.claimed(now, ask)
        if claimed.attempt != run.attempt:
            match self.spending.allow(run, prices, kind):
                case UsedUp(reason, to_do):
                    self.book.end(run, RunState.FAILED, reason, to_do=to_do)
                    return None
                case OverBudget() as over:
                    self._wait_for_money(run, over)
                    return None
                case Allowance(_, dollars):
                    claimed = replace(claimed, allowance=dollars)
        return self.book.save(claimed, run.state, f"attempt {claimed.attempt}, {why}", queue=queue.with_active(run))

    def _wait_for_money(self, run: Run, over: OverBudget) -> None:
        """It keeps its place; the reconciler looks again, also when the month has turned."""
        told = [] if over.soon else [alerts.budget_used_up(run, over.reason, f"{self.clock():%Y-%m}")]
        if run.reason != over.reason:
            self.book.save(replace(run, reason=over.reason), run.state, over.reason, alerts=told)

    def _write_spec(self, run: Run, prices: PriceList) -> None:
        """What the attempt may take; and before anything was trained, what it is compared with."""
        spec = self.bucket.read_spec(run.run_id)
        if run.is_fresh:
            spec |= {"champion": self.ledger.champion(run.dataset), "baseline": self.ledger.baseline(run.dataset)}
        limits = {**spec["limits"], **self.spending.limits(run, prices)}
        self.bucket.write_spec(run.run_id, {**spec, "limits": limits})

    def _left(self, run: Run, now: datetime) -> timedelta:
        used = timedelta(seconds=sum(stint.seconds(now) for stint in run.stints))
        estimated = timedelta(minutes=run.estimate.minutes) if run.estimate else None
        return time_left(self.policy.longest, used, estimated)

    def _refused(self, run: Run, refusals: Sequence[Refusal]) -> None:
        verdict = judge(refusals)
        rests = self._rests(run, refusals)
        advice = self._advice(run, verdict)
        if not verdict.waits:
            self.book.end(run, RunState.FAILED, verdict.sentence, to_do=advice, rests=rests)
            return
        wait = wait_after(run.refusals + 1, self.policy.first_wait, self.jitter())
        again = self.clock() + wait
        counts = verdict.kind is not Kind.THROTTLING
        waiting = run.waits_again(verdict.sentence, again, counts=counts)
        told = alerts.run_waits(run, verdict.sentence, advice, again)

        def back() -> Run:
            queue = self.ledger.queue()
            if run.is_fresh and (newer := queue.replaced_by(run)):  # it came while this one had its turn
                reason = f"replaced by {newer}, a newer snapshot of dataset {run.dataset}"
                ended = waiting.ended(RunState.CANCELLED, reason, self.clock())
                self.book.write_card(ended)
                return self.book.save(ended, "LAUNCHING", reason, queue=queue.without(ended), rests=rests)
            queue = queue.back_to_waiting(run) if run.is_fresh else queue
            return self.book.save(waiting, "LAUNCHING", verdict.sentence, queue=queue, alerts=[told], rests=rests)

        on_conflict_again(back)
        self.timer.launch(wait)

    def _rests(self, run: Run, refusals: Sequence[Refusal]) -> list[Rest]:
        rests, now = [], self.clock()
        for refusal in refusals:
            if refusal.pool and refusal.kind in {Kind.CAPACITY, Kind.PRICE, Kind.CONFIGURATION}:
                out = AFTER_FAULT if refusal.kind is Kind.CONFIGURATION else AFTER_REFUSAL
                rests.append(Rest(refusal.pool, run.ask.lifecycle, now + out, refusal.code))
        return rests

    def _advice(self, run: Run, verdict: Judgement) -> str:
        """What to do. The account is looked at only where people are told for the first time."""
        words = [] if verdict.waits else [verdict.what_to_do]
        if run.ask.pools and not self.ledger.is_noted(alerts.run_waits_id(run)):
            quota = Quota.of(run.ask.pools[0].machine_type, run.ask.lifecycle)
            found = account.lacking(self.account.preconditions(quota), verdict.kind)
            words += [sentence for sentence in found if verdict.code != NO_SPOT_ROLE or SPOT_ROLE not in sentence]
        few = too_few(self.policy.pools)
        if verdict.kind is Kind.CAPACITY and few:
            words.append(few + " Give more InstanceTypes.")
        return " ".join(dict.fromkeys(words)) or "Nothing: it passes by itself. More InstanceTypes make it rarer."
