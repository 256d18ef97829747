"""Money before, while and after: what a run will cost, what it may cost, what this month cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..domain.caps import Allowance, Caps, OverBudget, Spent, UsedUp, allow, hours_left
from ..domain.drops import Drop
from ..domain.estimates import Estimate, estimate
from ..domain.money import hours, known_dollars
from ..domain.prices import PriceList, Quote
from ..domain.runs import Run, RunState
from ..ports import Ledger, Prices
from .common import Clock

TIME_TO_STOP = timedelta(minutes=10)  # for a trainer that holds its limits: it saves, says so, and ends


@dataclass(frozen=True)
class Spending:
    ledger: Ledger
    prices: Prices
    clock: Clock
    caps: Caps

    def price_list(self) -> PriceList:
        """Spot as it is now; on demand as the price list said within a day."""
        now = self.clock()
        spot = self.prices.spot(now)
        known = {quote.machine_type: quote.dollars for quote in self.ledger.quotes() if quote.is_fresh(now)}
        on_demand: dict[str, float | None] = dict(known)
        for kind in dict.fromkeys(kind for kind, _ in spot):
            if kind not in known:
                on_demand[kind] = price = self.prices.on_demand(kind)
                if price is not None:
                    self.ledger.keep_quote(Quote(kind, price, now))
        return PriceList(spot, on_demand)

    def estimate(self, drops: Iterable[Drop], recipe: str) -> Estimate | None:
        return estimate(drops, recipe, self.ledger.paces(recipe), self.price_list())

    def allow(self, run: Run, prices: PriceList, lifecycle: str) -> Allowance | UsedUp | OverBudget:
        """May the run's next machine be asked for, and what may that cost?"""
        now = self.clock()
        usual = prices.usual(lifecycle)
        month, promised = self._month(now) if self.caps.budget else (0.0, 0.0)
        spent = Spent(known_dollars(run.stints, now), hours(run.stints, now), month, promised)
        return allow(self.caps, spent, run.estimate, usual[0] if usual else None, fresh=run.is_fresh)

    def limits(self, run: Run, prices: PriceList) -> dict[str, Any]:
        """For the spec: the trainer stops itself there, even when nothing of ours runs any more."""
        return {
            "max_hours": hours_left(self.caps, hours(run.stints, self.clock())),
            "max_cost": run.allowance,
            "prices": prices.for_the_spec(),
        }

    def overrun(self, run: Run) -> str | None:
        """Why its machine has to be ended from here: the trainer should have stopped some minutes ago, and did not."""
        then = self.clock() - TIME_TO_STOP
        stint = next((stint for stint in run.stints if stint.machine == run.machine and not stint.ended_at), None)
        if stint is None or stint.launched_at > then:
            return None
        cost = stint.dollars(then)
        if run.allowance is not None and cost is not None and cost > run.allowance:
            return f"The ${run.allowance:.4f} that its machine might cost (MaxRunCost, MonthlyBudget) were used up"
        if hours(run.stints, then) > self.caps.hours:
            return f"The run's {self.caps.hours:g} machine hours (MaxRunHours) were used up"
        return None

    def _month(self, now: datetime) -> tuple[float, float]:
        """Dollars of the machines that ended this month; and what those that run, or are asked for, may still cost."""
        ended = sum(bill.dollars or 0.0 for bill in self.ledger.bills(f"{now:%Y-%m}"))
        promised, queue = 0.0, self.ledger.queue()
        for run_id, _ in (*queue.active, *queue.billing):
            run = self.ledger.run(run_id)
            if run is None:
                continue
            if run.state is RunState.LAUNCHING and run.machine is None:  # asked for, and not written down yet
                promised += run.allowance or 0.0
            for stint in run.stints:
                if stint.ended_at is None:  # one that has ended is billed already
                    promised += max(run.allowance or 0.0, stint.dollars(now) or 0.0)
        return ended, promised
