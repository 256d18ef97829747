"""What a run may still cost and take, and whether it may start. The trainer stops itself where this ends."""

from __future__ import annotations

from dataclasses import dataclass

from .estimates import Estimate

LEAST_MINUTES = 1.0  # what EC2 bills at the least; a machine that may not even run so long is not asked for
TIMER_MARGIN = 1 / 6  # hours that the trainer ends before its machine's timer, so that it can say why


@dataclass(frozen=True)
class Caps:
    """Of a run: `cost` in dollars (0 = no cap), machine `hours`. `budget`: the stack's dollars a month (0 = none)."""

    cost: float
    hours: float
    budget: float


@dataclass(frozen=True)
class Spent:
    """What counts against the caps. `month`: bills of this month; `promised`: what running machines may still cost."""

    dollars: float = 0.0
    hours: float = 0.0
    month: float = 0.0
    promised: float = 0.0


@dataclass(frozen=True)
class Allowance:
    """What the next attempt may take; `dollars` None = no cap."""

    hours: float
    dollars: float | None


@dataclass(frozen=True)
class UsedUp:
    """The run itself may not go on: it fails. `to_do` is for people."""

    reason: str
    to_do: str


@dataclass(frozen=True)
class OverBudget:
    """It waits: for the month to turn, or (`soon`) only until a machine that runs has ended."""

    reason: str
    soon: bool


def hours_left(caps: Caps, used: float) -> float:
    return round(caps.hours - used - TIMER_MARGIN, 4)


def allow(
    caps: Caps, spent: Spent, estimate: Estimate | None, price: float | None, *, fresh: bool
) -> Allowance | UsedUp | OverBudget:
    """May a machine be asked for? `price` is the usual one an hour, None when it is not told."""
    hours = hours_left(caps, spent.hours)
    if hours * 60 < LEAST_MINUTES:
        return UsedUp(
            f"The run's {caps.hours:g} machine hours (MaxRunHours) are used up.",
            "Raise MaxRunHours and drop the data again, or train on less.",
        )
    expected = (estimate.dollars if estimate else None) or 0.0
    least = (price or 0.0) * LEAST_MINUTES / 60
    needed = max(expected, least) if fresh else least
    left = caps.cost - spent.dollars
    if caps.cost and fresh and estimate and needed > left:
        return UsedUp(
            f"The run would cost about ${needed:.4f} ({estimate.how}); a run may cost ${caps.cost:g} (MaxRunCost).",
            f"Raise MaxRunCost above {needed:.4f} and drop the data again, or train on less.",
        )
    if caps.cost and (left <= 0 or needed > left):
        return UsedUp(
            f"${spent.dollars:.4f} of the run's ${caps.cost:g} (MaxRunCost) are spent, "
            "and what is left does not pay another machine.",
            "Raise MaxRunCost and drop the data again, or train on less.",
        )
    if caps.budget and fresh and estimate and needed > caps.budget:  # no month will have enough: it would wait for ever
        return UsedUp(
            f"The run would cost about ${needed:.4f} ({estimate.how}); a whole month may cost ${caps.budget:g} "
            "(MonthlyBudget).",
            f"Raise MonthlyBudget above {needed:.4f} and drop the data again, or train on less.",
        )
    of_month = caps.budget - spent.month
    if caps.budget and (of_month <= 0 or needed > of_month):
        return OverBudget(
            f"${spent.month:.4f} of this month's ${caps.budget:g} (MonthlyBudget) are spent; "
            f"about ${needed:.4f} more would go over it.",
            soon=False,
        )
    if caps.budget and (of_month - spent.promised <= 0 or needed > of_month - spent.promised):
        return OverBudget(
            f"${spent.month:.4f} of this month's ${caps.budget:g} are spent and ${spent.promised:.4f} are kept for "
            "machines that run; it starts when they leave enough.",
            soon=True,
        )
    limits = [left] if caps.cost else []
    limits += [of_month - spent.promised] if caps.budget else []
    return Allowance(hours, round(min(limits), 6) if limits else None)
