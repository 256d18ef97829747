"""Moments before an event of a release or an alarm: each brings a world there and returns the event."""

from __future__ import annotations

from controlplane.domain.probes import Proof, Verdict
from controlplane.domain.scans import Scan, ScanPolicy, ScanState

from tests.flows.fakes import CLEAN, FOUND, PENDING
from tests.flows.killing import Event
from tests.flows.world import World, alarm, crash


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


def a_failed_scan_of_what_rolls(world: World) -> Event:
    world.scan_policy = ScanPolicy.REPORT
    push = world.push("v1")
    world.scans.otherwise = Scan(ScanState.NONE, "UNSUPPORTED_IMAGE")
    world.on_deployment_changed(world.service.completes())
    return lambda: world.on_image_scanned(push.digest)


def a_rollback_by_a_person(world: World) -> Event:
    world.promoted()
    for tag in ("v1", "v2"):
        world.push(tag)
        world.on_deployment_changed(world.service.completes())
    told = {"action": "roll_back", "release": None, "why": "It answers nonsense.", "by": "ada", "id": "d1"}
    return lambda: world.on_person_decided(told)


def a_rollback_by_a_second_person(world: World) -> Event:
    """While the first one's rolls."""
    a_rollback_by_a_person(world)()
    told = {"action": "roll_back", "release": None, "why": "It answers nonsense.", "by": "bob", "id": "d2"}
    return lambda: world.on_person_decided(told)


def a_rollback_while_one_rolls(world: World, release: int | None = None) -> Event:
    """v1 and v2 served, v3 rolls."""
    for tag in ("v1", "v2", "v3"):
        world.on_deployment_changed(world.service.completes())
        world.push(tag)
    told = {"action": "roll_back", "release": release, "why": "It answers nonsense.", "by": "ada", "id": "d1"}
    return lambda: world.on_person_decided(told)


def a_rollback_to_another_while_one_rolls(world: World) -> Event:
    return a_rollback_while_one_rolls(world, release=1)


def a_rollback_of_the_first_while_it_rolls(world: World) -> Event:
    world.push("v1")
    told = {"action": "roll_back", "release": None, "why": "It answers nonsense.", "by": "ada", "id": "d1"}
    return lambda: world.on_person_decided(told)


def a_push_over_a_waiting_rollback(world: World) -> Event:
    a_rollback_to_another_while_one_rolls(world)()
    push = world.push("v4", told=False)
    return lambda: world.on_image_pushed(push)


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


def a_first_release_that_disagrees(world: World) -> Event:
    world.push("v1")
    world.prober.says[1] = Proof(Verdict.DISAGREES, "2 of 32 rows got another label")
    world.service.completes()
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


def a_service_that_left(world: World) -> Event:
    """Somebody else changed it, or a failed deploy did."""
    world.push("v1")
    world.on_deployment_changed(world.service.completes())
    world.service._start(None)
    world.service.completes()
    return world.on_reconcile_due


def a_deadline(world: World) -> Event:
    world.push("v1")
    world.on_deployment_changed(world.service.completes())
    world.push("v2")
    world.clock.forward(minutes=31)
    return world.on_deployment_changed


def a_changed_golden_set(world: World) -> Event:
    run = world.promoted()
    world.push("v1")
    world.on_deployment_changed(world.service.completes())
    world.push("v2")
    world.bucket.changed, world.service.up = {run.run_id}, 1
    return world.on_deployment_changed


def a_deploy_that_asked_before(world: World) -> Event:
    """It sets the service back to what served when it asked, and then the newer one rolls out again."""
    world.push("v1")
    world.on_deployment_changed(world.service.completes())
    world.push("v2")
    world.service.set_by_another(1)
    return world.on_deployment_changed


def errors_while_one_rolls(world: World) -> Event:
    world.push("v1")
    world.on_deployment_changed(world.service.completes())
    world.push("v2")
    change = alarm("errors-high", world.clock.now)
    return lambda: world.on_alarm_changed(change)


def crashes_while_one_rolls(world: World) -> Event:
    world.push("v1")
    world.on_deployment_changed(world.service.completes())
    world.push("v2")
    crash(world, 2)
    return world.on_deployment_changed


def crashes_of_what_serves(world: World) -> Event:
    world.promoted()
    for tag in ("v1", "v2"):
        world.push(tag)
        world.on_deployment_changed(world.service.completes())
    crash(world, 2)
    return world.on_deployment_changed


def crashes_after_the_bake(world: World) -> Event:
    world.push("v1")
    world.on_deployment_changed(world.service.completes())
    world.clock.forward(minutes=31)
    crash(world, 1)
    return world.on_deployment_changed


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
