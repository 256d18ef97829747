"""Moments before an event on the way from data to a champion: each brings a world there and returns the event."""

from __future__ import annotations

from dataclasses import replace

from tests.flows.fakes import BAD_REQUEST, NO_CAPACITY, refused
from tests.flows.killing import Event
from tests.flows.world import BAD, OTHER, POOLS, World


def a_drop(world: World) -> Event:
    drop = world.bucket.put("raw/a.csv", b"text,label\ngood,pos\nbad,neg\n")
    return lambda: world.on_data_dropped(drop)


def a_bad_drop(world: World) -> Event:
    drop = world.bucket.put("raw/bad.csv", BAD)
    return lambda: world.on_data_dropped(drop)


def a_ring(world: World) -> Event:
    world.drop()
    world.drop("raw/bad.csv", BAD)
    world.clock.forward(seconds=61)
    ring = world.timer.rings[-1]
    world.timer.rings.clear()
    return lambda: world.on_batch_settled(ring)


def a_ring_without_capacity(world: World) -> Event:
    world.fleet.refusals = [NO_CAPACITY]
    return a_ring(world)


def a_ring_with_a_bad_fleet(world: World) -> Event:
    world.fleet.refusals = [BAD_REQUEST]
    return a_ring(world)


def a_ring_for_data_that_failed(world: World) -> Event:
    world.fleet.refusals = [BAD_REQUEST]
    world.dropped_run()
    return a_ring(world)


def a_machine_up(world: World) -> Event:
    world.dropped_run()
    return lambda: world.on_machine_changed("i-1", alive=True)


def an_interruption(world: World) -> Event:
    world.trainer_says(world.dropped_run(), "interrupted", "Spot notice.")
    world.fleet.gone.add("i-1")
    return lambda: world.on_machine_changed("i-1", alive=False)


def a_drop_of_settings(world: World) -> Event:
    drop = world.bucket.put("raw/films/tidegate.yaml", b'{"knobs": {"passes": 3}}')
    return lambda: world.on_data_dropped(drop)


def a_ring_for_what_is_too_dear(world: World) -> Event:
    world.caps = replace(world.caps, cost=0.000001)
    return a_ring(world)


def a_ring_over_the_months_budget(world: World) -> Event:
    world.caps = replace(world.caps, budget=0.000001)
    return a_ring(world)


def a_stop_at_the_cap(world: World) -> Event:
    world.caps = replace(world.caps, cost=5, budget=50)
    run = world.dropped_run()
    world.trainer_says(run, "stopped", "Used up; saved step 20.", cause="cost")
    world.fleet.gone.add("i-1")
    return lambda: world.on_attempt_ended(run.run_id, 1)


def a_machine_gone_after_its_run(world: World) -> Event:
    run = world.dropped_run()
    world.trainer_publishes(run)
    world.on_model_published(run.run_id)
    world.fleet.gone.add("i-1")
    return lambda: world.on_machine_changed("i-1", alive=False)


def a_failure(world: World) -> Event:
    world.trainer_says(world.dropped_run(), "failed", "45 % refused.")
    world.fleet.gone.add("i-1")
    return lambda: world.on_machine_changed("i-1", alive=False)


def a_refusal_by_some_pools(world: World) -> Event:
    world.fleet.refusals = [refused("InsufficientInstanceCapacity", "none", *POOLS[:3])]
    return a_ring(world)


def a_newer_snapshot(world: World) -> Event:
    """It takes the place of one that waits."""
    world.policy = replace(world.policy, max_concurrent=1)
    world.dropped_run("raw/first/a.csv")
    world.dropped_run()
    world.drop("raw/b.csv", OTHER)
    world.clock.forward(seconds=61)
    ring = world.timer.rings[-1]
    world.timer.rings.clear()
    return lambda: world.on_batch_settled(ring)


def a_last_word(world: World) -> Event:
    run = world.dropped_run()
    world.trainer_says(run, "interrupted", "Spot notice.", cause="spot")
    world.fleet.gone.add("i-1")
    return lambda: world.on_attempt_ended(run.run_id, 1)


def a_stop(world: World) -> Event:
    run = world.dropped_run()
    world.trainer_says(run, "stopped", "$5.00 are used up.", cause="cost")
    world.fleet.gone.add("i-1")
    return lambda: world.on_attempt_ended(run.run_id, 1)


def a_notice(world: World) -> Event:
    world.dropped_run()
    world.fleet.gone.add("i-1")  # it is taken in any case

    def noticed() -> None:
        world.on_machine_warned("i-1")
        world.wait(seconds=21)

    return noticed


def a_silent_machine(world: World) -> Event:
    world.dropped_run()
    world.on_machine_warned("i-1")
    world.fleet.gone.add("i-1")
    world.clock.forward(seconds=21)
    ring = world.timer.rings[-1]
    world.timer.rings.clear()
    return lambda: world.on_batch_settled(ring)


def a_model_of_an_old_machine(world: World) -> Event:
    run = world.dropped_run()
    world.on_machine_warned("i-1")
    world.wait(seconds=21)
    world.trainer_publishes(run)
    world.fleet.gone.add("i-1")
    return lambda: world.on_model_published(run.run_id)


def a_second_look(world: World) -> Event:
    """One machine without a run, one that lost its guard, and a suspect that has ended by itself."""
    world.fleet.boot("unknown-1")
    world.fleet.boot("unknown-2")
    world.dropped_run()
    world.on_reconcile_due()
    world.fleet.gone.add("i-2")
    world.guard.schedules.clear()
    world.clock.forward(minutes=5)
    return world.on_reconcile_due


def a_champion(world: World) -> Event:
    world.push("v1")
    world.on_deployment_changed(world.service.completes())
    run = world.dropped_run()
    world.trainer_publishes(run)
    world.dropped_run("raw/b.csv", OTHER)
    world.fleet.gone.add("i-1")
    return lambda: world.on_model_published(run.run_id)


def a_worse_challenger(world: World) -> Event:
    champion = world.promoted()
    run = world.dropped_run("raw/b.csv", OTHER)
    world.trainer_publishes(run, champion=champion.run_id, wins=20, losses=60, accuracy=0.76)
    world.fleet.gone.add("i-2")
    return lambda: world.on_model_published(run.run_id)
