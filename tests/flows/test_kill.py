"""Any function may die between any two calls, before or after the call had effect; whoever comes next ends it well.

Each flow is killed at every one of its port calls, in a world of its own. Then either its event comes again, or only
the reconciler does, and the end is compared with a world where nobody died.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.flows import moments_of_releases as releases
from tests.flows import moments_of_runs as runs
from tests.flows.fakes import Ring
from tests.flows.fuse import Fuse
from tests.flows.killing import Event, Flow, comes_again, deaths, end_of, ends, is_forgotten, nobody_comes
from tests.flows.world import World, alarm


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
    "a drop": Flow(runs.a_drop, durable=True),
    "a bad drop": Flow(runs.a_bad_drop, durable=True),
    "a ring": Flow(runs.a_ring),
    "a ring without capacity": Flow(runs.a_ring_without_capacity),
    "a ring with a bad fleet": Flow(runs.a_ring_with_a_bad_fleet),
    "a ring for data that failed": Flow(runs.a_ring_for_data_that_failed),
    "a machine up": Flow(runs.a_machine_up),
    "an interruption": Flow(runs.an_interruption),
    "a failure": Flow(runs.a_failure),
    "a drop of settings": Flow(runs.a_drop_of_settings, durable=True),
    "a ring for what is too dear": Flow(runs.a_ring_for_what_is_too_dear),
    "a ring over the month's budget": Flow(runs.a_ring_over_the_months_budget),
    "a stop at the cap": Flow(runs.a_stop_at_the_cap),
    "a machine gone after its run": Flow(runs.a_machine_gone_after_its_run),
    "a refusal by some pools": Flow(runs.a_refusal_by_some_pools),
    "a newer snapshot": Flow(runs.a_newer_snapshot),
    "a last word": Flow(runs.a_last_word, durable=True),
    "a stop": Flow(runs.a_stop),
    "a notice": Flow(runs.a_notice, durable=True),
    "a silent machine": Flow(runs.a_silent_machine, durable=True),
    "a model of an old machine": Flow(runs.a_model_of_an_old_machine, durable=True),
    "a second look": Flow(runs.a_second_look),
    "a champion": Flow(runs.a_champion),
    "a worse challenger": Flow(runs.a_worse_challenger),
    "a push": Flow(releases.a_push),
    "a push of an index": Flow(releases.a_push_of_an_index),
    "a push for another platform": Flow(releases.a_push_for_another_platform),
    "a look that finds an old image under a new tag": Flow(releases.a_look_that_finds_an_old_image_under_a_new_tag),
    "a verdict for it": Flow(releases.a_verdict_for_it),
    "a verdict against it": Flow(releases.a_verdict_against_it),
    "a scan without a verdict": Flow(releases.a_scan_without_a_verdict),
    "findings in what serves": Flow(releases.findings_in_what_serves),
    "a failed scan of what rolls": Flow(releases.a_failed_scan_of_what_rolls),
    "a rollback by a person": Flow(releases.a_rollback_by_a_person, durable=True),
    "a rollback by a second person": Flow(releases.a_rollback_by_a_second_person, durable=True),
    "a rollback while one rolls": Flow(releases.a_rollback_while_one_rolls, durable=True),
    "a rollback to another while one rolls": Flow(releases.a_rollback_to_another_while_one_rolls, durable=True),
    "a rollback of the first while it rolls": Flow(releases.a_rollback_of_the_first_while_it_rolls, durable=True),
    "a push over a waiting rollback": Flow(releases.a_push_over_a_waiting_rollback),
    "an override": Flow(releases.an_override, durable=True),
    "a held release let go": Flow(releases.a_held_release_let_go, durable=True),
    "a completion": Flow(releases.a_completion),
    "a fall": Flow(releases.a_fall),
    "a disagreement": Flow(releases.a_disagreement),
    "a first release that disagrees": Flow(releases.a_first_release_that_disagrees),
    "requests about to shift": Flow(releases.requests_about_to_shift),
    "a task that is silent": Flow(releases.a_task_that_is_silent),
    "a way back": Flow(releases.a_way_back),
    "a service that left": Flow(releases.a_service_that_left),
    "a deadline": Flow(releases.a_deadline),
    "a changed golden set": Flow(releases.a_changed_golden_set),
    "a deploy that asked before": Flow(releases.a_deploy_that_asked_before),
    "errors while one rolls": Flow(releases.errors_while_one_rolls, durable=True),
    "crashes while one rolls": Flow(releases.crashes_while_one_rolls),
    "crashes of what serves": Flow(releases.crashes_of_what_serves),
    "crashes after the bake": Flow(releases.crashes_after_the_bake),
    "slow answers": Flow(releases.slow_answers, durable=True),
    "errors": Flow(releases.errors, durable=True),
    "a look that finds much": Flow(a_look_that_finds_much),
}


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
