"""Any function may die between any two calls, before or after the call had effect; whoever comes next ends it well.

Each flow is killed at every one of its port calls, in a world of its own. Then either its event comes again, or only
the reconciler does, and the end is compared with a world where nobody died.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
from controlplane.domain.probes import Proof, Verdict
from controlplane.domain.scans import Scan, ScanState
from controlplane.ports import TryAgain

from tests.flows.fakes import BAD_REQUEST, CLEAN, FOUND, NO_CAPACITY, PENDING, Ring, refused
from tests.flows.world import BAD, POOLS, Fuse, Killed, World, alarm

Event = Callable[[], object]
OTHER = b"text,label\ngreat,pos\nawful,neg\n"


@dataclass(frozen=True)
class Flow:
    """`prepare` brings the world to the moment before the event, and returns the event.

    `durable`: its source never forgets it, so the reconciler need not do its work.
    """

    prepare: Callable[[World], Event]
    durable: bool = False


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


def a_push(world: World) -> Event:
    world.promoted()
    push = world.push("v1", told=False)
    return lambda: world.on_image_pushed(push)


def a_push_of_an_index(world: World) -> Event:
    push = world.push("v1", told=False, index=["arm64", "amd64", "unknown"])
    return lambda: world.on_image_pushed(push)


def a_push_for_another_platform(world: World) -> Event:
    push = world.push("v1", told=False, architecture="arm64")
    return lambda: world.on_image_pushed(push)


def a_look_that_finds_an_old_image_under_a_new_tag(world: World) -> Event:
    first = world.push("v1")
    world.on_deployment_changed(world.service.completes())
    world.push("v2")
    world.on_deployment_changed(world.service.completes())
    world.on_reconcile_due()
    world.push("v1-again", told=False, of=first)
    return world.on_reconcile_due


def a_verdict_for_it(world: World) -> Event:
    world.scans.otherwise = PENDING
    push = world.push("v1")
    world.scans.otherwise = CLEAN
    return lambda: world.on_image_scanned(push.digest)


def a_verdict_against_it(world: World) -> Event:
    world.scans.otherwise = PENDING
    push = world.push("v1")
    world.scans.otherwise = FOUND
    return lambda: world.on_image_scanned(push.digest)


def a_scan_without_a_verdict(world: World) -> Event:
    world.scans.otherwise = PENDING
    push = world.push("v1")
    world.scans.otherwise = Scan(ScanState.NONE, "UNSUPPORTED_IMAGE")
    return lambda: world.on_image_scanned(push.digest)


def findings_in_what_serves(world: World) -> Event:
    push = world.push("v1")
    world.on_deployment_changed(world.service.completes())
    world.scans.otherwise = FOUND
    return lambda: world.on_image_scanned(push.digest)


def a_rollback_by_a_person(world: World) -> Event:
    world.promoted()
    for tag in ("v1", "v2"):
        world.push(tag)
        world.on_deployment_changed(world.service.completes())
    told = {"action": "roll_back", "release": None, "why": "It answers nonsense.", "by": "ada", "id": "d1"}
    return lambda: world.on_person_decided(told)


def an_override(world: World) -> Event:
    world.scans.otherwise = FOUND
    world.push("v1")
    told = {"action": "release", "release": 1, "why": "It is urgent.", "by": "ada", "id": "d1"}
    return lambda: world.on_person_decided(told)


def a_held_release_let_go(world: World) -> Event:
    world.scans.otherwise = PENDING
    world.push("v1")
    told = {"action": "release", "release": 1, "why": "It is urgent.", "by": "ada", "id": "d1"}
    return lambda: world.on_person_decided(told)


def a_completion(world: World) -> Event:
    world.push("v1")
    world.push("v2")
    ended = world.service.completes()
    return lambda: world.on_deployment_changed(ended)


def a_fall(world: World) -> Event:
    world.push("v1")
    world.on_deployment_changed(world.service.completes())
    world.push("v2")
    fallen = world.service.breaks()
    return lambda: world.on_deployment_changed(fallen)


def a_disagreement(world: World) -> Event:
    """The first new task gives other labels than the trainer; then the way back completes."""
    world.promoted()
    world.push("v1")
    world.on_deployment_changed(world.service.completes())
    world.push("v2")
    world.prober.says[2], world.service.up = Proof(Verdict.DISAGREES, "2 of 32 rows got another label"), 1
    return world.on_deployment_changed


def requests_about_to_shift(world: World) -> Event:
    """ECS asks before it shifts them, and the new tasks give other labels."""
    a_disagreement(world)
    world.service.up = world.service.desired
    return world.on_traffic_shifting


def a_task_that_is_silent(world: World) -> Event:
    world.push("v1")
    world.on_deployment_changed(world.service.completes())
    world.push("v2")
    world.prober.says[2] = Proof(Verdict.NO_ANSWER, "refused")
    world.service.completes()
    return world.on_deployment_changed


def a_way_back(world: World) -> Event:
    a_fall(world)()
    world.push("v3")
    world.service.completes()
    return world.on_deployment_changed


def a_deadline(world: World) -> Event:
    world.push("v1")
    world.on_deployment_changed(world.service.completes())
    world.push("v2")
    world.clock.forward(minutes=31)
    return world.on_deployment_changed


def errors_while_one_rolls(world: World) -> Event:
    world.push("v1")
    world.on_deployment_changed(world.service.completes())
    world.push("v2")
    change = alarm("errors-high", world.clock.now)
    return lambda: world.on_alarm_changed(change)


def slow_answers(world: World) -> Event:
    change = alarm("latency-high", world.clock.now)
    return lambda: world.on_alarm_changed(change)


def errors(world: World) -> Event:
    world.promoted()
    for tag in ("v1", "v2"):
        world.push(tag)
        world.on_deployment_changed(world.service.completes())
    change = alarm("errors-high", world.clock.now)
    return lambda: world.on_alarm_changed(change)


def a_look_that_finds_much(world: World) -> Event:
    """A lost batch timer, a vanished machine, a lost model, an orphan, a lost push, a lost completion."""
    world.policy = replace(world.policy, max_concurrent=5)
    world.push("v1")
    world.service.completes()
    world.push("v2", told=False)
    world.dropped_run("raw/vanished/a.csv")
    world.fleet.gone.add("i-1")
    world.trainer_publishes(world.dropped_run())
    world.fleet.gone.add("i-2")
    world.fleet.boot("unknown-1")
    world.drop("raw/late/a.csv")
    world.timer.rings.clear()
    world.clock.forward(minutes=5)
    return world.on_reconcile_due


FLOWS = {
    "a drop": Flow(a_drop, durable=True),
    "a bad drop": Flow(a_bad_drop, durable=True),
    "a ring": Flow(a_ring),
    "a ring without capacity": Flow(a_ring_without_capacity),
    "a ring with a bad fleet": Flow(a_ring_with_a_bad_fleet),
    "a ring for data that failed": Flow(a_ring_for_data_that_failed),
    "a machine up": Flow(a_machine_up),
    "an interruption": Flow(an_interruption),
    "a failure": Flow(a_failure),
    "a drop of settings": Flow(a_drop_of_settings, durable=True),
    "a ring for what is too dear": Flow(a_ring_for_what_is_too_dear),
    "a ring over the month's budget": Flow(a_ring_over_the_months_budget),
    "a stop at the cap": Flow(a_stop_at_the_cap),
    "a machine gone after its run": Flow(a_machine_gone_after_its_run),
    "a refusal by some pools": Flow(a_refusal_by_some_pools),
    "a newer snapshot": Flow(a_newer_snapshot),
    "a last word": Flow(a_last_word, durable=True),
    "a stop": Flow(a_stop),
    "a notice": Flow(a_notice, durable=True),
    "a silent machine": Flow(a_silent_machine, durable=True),
    "a model of an old machine": Flow(a_model_of_an_old_machine, durable=True),
    "a second look": Flow(a_second_look),
    "a champion": Flow(a_champion),
    "a worse challenger": Flow(a_worse_challenger),
    "a push": Flow(a_push),
    "a push of an index": Flow(a_push_of_an_index),
    "a push for another platform": Flow(a_push_for_another_platform),
    "a look that finds an old image under a new tag": Flow(a_look_that_finds_an_old_image_under_a_new_tag),
    "a verdict for it": Flow(a_verdict_for_it),
    "a verdict against it": Flow(a_verdict_against_it),
    "a scan without a verdict": Flow(a_scan_without_a_verdict),
    "findings in what serves": Flow(findings_in_what_serves),
    "a rollback by a person": Flow(a_rollback_by_a_person, durable=True),
    "an override": Flow(an_override, durable=True),
    "a held release let go": Flow(a_held_release_let_go, durable=True),
    "a completion": Flow(a_completion),
    "a fall": Flow(a_fall),
    "a disagreement": Flow(a_disagreement),
    "requests about to shift": Flow(requests_about_to_shift),
    "a task that is silent": Flow(a_task_that_is_silent),
    "a way back": Flow(a_way_back),
    "a deadline": Flow(a_deadline),
    "errors while one rolls": Flow(errors_while_one_rolls, durable=True),
    "slow answers": Flow(slow_answers, durable=True),
    "errors": Flow(errors, durable=True),
    "a look that finds much": Flow(a_look_that_finds_much),
}


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


def cases() -> Iterator[object]:
    for name, flow in FLOWS.items():
        for recover, how in ((comes_again, "told again"), (is_forgotten, "forgotten")):
            if not (flow.durable and recover is is_forgotten):
                yield pytest.param(name, recover, id=f"{name}, {how}")


SENT_NOT_CROSSED_OFF = {"after FakeNotifier.tell", "before FakeLedger.sent"}


@pytest.mark.parametrize(("name", "recover"), list(cases()))
def test_a_death_anywhere_changes_nothing_in_the_end(name: str, recover: Callable[[World, Event], None]) -> None:
    flow = FLOWS[name]
    _, undisturbed = ends(flow, recover, Fuse())
    wanted = end_of(undisturbed)
    assert wanted["to be told"] == []
    died_at = []
    for death, world in deaths(flow, recover):
        died_at.append(death)
        end = end_of(world)
        if death in SENT_NOT_CROSSED_OFF:
            assert len(end["mails"]) == len(wanted["mails"]) + 1, f"{death}: one alert is told twice, and no other"
            assert set(end.pop("mails")) == set(wanted["mails"])
            assert end == {key: value for key, value in wanted.items() if key != "mails"}, death
        else:
            assert end == wanted, death
    assert len(died_at) >= 6, "the flow made hardly a call; is it the flow that is meant?"


def test_the_harness_sees_what_a_death_leaves_behind() -> None:
    """Without recovery the ends differ: the comparison is not empty."""
    flow = FLOWS["a ring"]
    _, undisturbed = ends(flow, nobody_comes, Fuse())
    left = [death for death, world in deaths(flow, nobody_comes) if end_of(world) != end_of(undisturbed)]
    assert len(left) > 5


def test_a_mail_is_doubled_only_between_sending_and_crossing_off() -> None:
    doubled = set()
    for name in ("a ring", "a failure", "a champion", "a completion", "slow answers", "errors"):
        for death, world in deaths(FLOWS[name], comes_again):
            mails = [mail.alert_id for mail in world.notifier.mails]
            if len(mails) != len(set(mails)):
                doubled.add(death)
    assert doubled == SENT_NOT_CROSSED_OFF


def test_two_functions_that_tell_at_the_same_moment_send_one_mail() -> None:
    world = World()
    send = world.notifier.tell

    def tell_while_another_function_tells(alert: Any) -> None:
        del world.notifier.tell
        world.on_batch_settled(Ring(world.clock.now))
        send(alert)

    world.notifier.tell = tell_while_another_function_tells  # type: ignore[method-assign]
    world.on_alarm_changed(alarm("latency-high", world.clock.now))
    assert len(world.subjects) == 1
