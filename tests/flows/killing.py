"""How a flow is killed at each of its port calls, who comes then, and what the end of a world is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from controlplane.ports import TryAgain

from tests.flows.fuse import Fuse, Killed
from tests.flows.world import World

Event = Callable[[], object]


@dataclass(frozen=True)
class Flow:
    """`prepare` brings the world to the moment before the event, and returns the event.

    `durable`: its source never forgets it, so the reconciler need not do its work.
    """

    prepare: Callable[[World], Event]
    durable: bool = False


def end_of(world: World) -> dict[str, Any]:
    """All that matters in the end; not when it happened, nor in how many writes."""
    ledger, rollout = world.ledger, world.ledger.rollout()
    return {
        "runs": {
            run.run_id: (
                run.state,
                run.attempt,
                run.machine,
                run.reason,
                [s.machine for s in run.stints],
                [s.ended_at is None for s in run.stints],
                [s.cause for s in run.stints],
            )
            for run in ledger.runs.values()
        },
        "waiting": ledger.queue().waiting,
        "active": sorted(ledger.queue().active),
        "left out": sorted((kind, pool.machine_type, pool.subnet) for kind, pool in ledger.pool_rests),
        "suspects": sorted(ledger.suspected),
        "guards": sorted(world.guard.schedules),
        "champions": ledger.champions,
        "baselines": ledger.baselines,
        "batches": sorted(ledger.batches),
        "drops": sorted(ledger.drops),
        "specs": {run_id: _but_for_what_is_left(spec) for run_id, spec in world.bucket.specs.items()},
        "cards": {run_id: told["state"] for run_id, (told, _) in world.bucket.cards.items()},
        "bills": sorted(ledger.the_bills),
        "billing": sorted(ledger.queue().billing),
        "paces": sorted(ledger.the_paces),
        "reports": sorted(world.bucket.reports),
        "machines alive": sorted(world.fleet.machines()),
        "machines ever": sorted(world.fleet.launched),
        "releases": {number: (told.state, told.image, told.model) for number, told in ledger.releases.items()},
        "serving": rollout.serving and (rollout.serving.number, rollout.serving.deployment),
        "rolling": rollout.rolling and (rollout.rolling.number, rollout.rolling.deployment),
        "going back": rollout.going_back and (rollout.going_back.number, rollout.going_back.deployment),
        "deployments ever": world.service.made,
        "tasks": world.service.desired,
        "told": sorted(_but_for_times(alert_id) for alert_id in ledger.noted),
        "to be told": sorted(ledger.to_send),
        "mails": sorted(_but_for_times(mail.alert_id) for mail in world.notifier.mails),
    }


def _but_for_what_is_left(spec: dict[str, Any]) -> dict[str, Any]:
    """Hours go by while one is dead."""
    return {**spec, "limits": {name: value for name, value in spec["limits"].items() if name != "max_hours"}}


def _but_for_times(alert_id: str) -> str:
    """A batch is named by when it was opened."""
    return re.sub(r"@.*", "", alert_id)


def died(world: World, event: Event, fuse: Fuse) -> bool:
    """Whether the fuse was reached."""
    world.fuse = fuse
    try:
        event()
    except Killed:
        return True
    except TryAgain:
        return False
    finally:
        world.fuse = Fuse()
    return False


def comes_again(world: World, event: Event) -> None:
    """SQS after its visibility timeout, Lambda after its pause; then the reconciler, and the timers."""
    world.clock.forward(minutes=6)
    with suppress(TryAgain):
        event()
    _look_again(world)


def is_forgotten(world: World, _: Event) -> None:
    """Nobody repeats the event: the reconciler has to find out."""
    _look_again(world)


def nobody_comes(_: World, __: Event) -> None:
    """Nothing is mended."""


def _look_again(world: World) -> None:
    for _ in range(3):
        world.wait(minutes=5)
        world.on_reconcile_due()


def ends(flow: Flow, recover: Callable[[World, Event], None], fuse: Fuse) -> tuple[bool, World]:
    world = World()
    event = flow.prepare(world)
    dead = died(world, event, fuse)
    recover(world, event)
    return dead, world


def deaths(flow: Flow, recover: Callable[[World, Event], None]) -> Iterator[tuple[str, World]]:
    """Every death that this flow can die, and the world after recovery."""
    for after in (False, True):
        at = 1
        while True:
            fuse = Fuse(at, after)
            dead, world = ends(flow, recover, fuse)
            if not dead:
                break
            yield f"{'after' if after else 'before'} {fuse.calls[-1]}", world
            at += 1
