"""ECS asks before it shifts requests: the new tasks answer, and what falls is settled at once."""

from __future__ import annotations

from dataclasses import replace

from controlplane.domain.probes import Proof, Verdict
from controlplane.domain.shifting import May

from tests.flows.test_releasing import rolled_out
from tests.flows.world import World

WRONG = Proof(Verdict.DISAGREES, "golden set: 3 of 32 rows got another label")


def green(world: World) -> None:
    """Release 2 stands beside the one that serves, all its tasks up."""
    world.promoted()
    rolled_out(world, "v1")
    world.push("v2")
    world.service.up = world.service.desired
    world.prober.asked.clear()


def test_every_new_task_is_asked_with_the_golden_set_and_requests_may_shift() -> None:
    world = World()
    green(world)
    assert world.on_traffic_shifting().may is May.SUCCEEDED
    [(question, addresses)] = world.prober.asked
    assert (question.release, [row.label for row in question.rows]) == (2, ["pos"])
    assert addresses == ("10.77.2.0:8080", "10.77.2.1:8080")


def test_asked_again_it_says_the_same_and_nothing_was_changed() -> None:
    world = World()
    green(world)
    before = world.ledger.rollout()
    assert world.on_traffic_shifting() == world.on_traffic_shifting()
    assert world.ledger.rollout() == before


def test_a_task_that_proved_itself_to_a_look_is_not_asked_again() -> None:
    world = World()
    green(world)
    rollout = world.ledger.rollout()
    assert rollout.rolling
    known = replace(rollout.rolling, proved=(world.service.view().tasks[0].task_id,))
    world.ledger.save_rollout(replace(rollout, rolling=known), [], [])
    assert world.on_traffic_shifting().may is May.SUCCEEDED
    assert [addresses for _, addresses in world.prober.asked] == [("10.77.2.1:8080",)]


def test_tasks_that_cannot_be_asked_yet_keep_it_waiting() -> None:
    world = World()
    green(world)
    world.prober.says[2] = Proof(Verdict.NO_ANSWER, "refused")
    assert world.on_traffic_shifting().may is May.IN_PROGRESS
    world.service.up = 0
    assert world.on_traffic_shifting().may is May.IN_PROGRESS


def test_a_release_that_disagrees_is_refused_and_its_reason_is_recorded_by_the_next_look() -> None:
    world = World()
    green(world)
    world.prober.says[2] = WRONG
    assert world.on_traffic_shifting().may is May.FAILED
    world.wait(seconds=0)
    fallen = world.ledger.releases[2]
    assert (fallen.state, fallen.by) == ("ROLLED_BACK", "the smoke test")
    assert "golden set: 3 of 32 rows" in fallen.reason
    assert world.service.primary.release == 1
    assert world.on_traffic_shifting(1).may is May.SUCCEEDED, "the last good one passes"


def test_no_request_shifts_by_a_golden_set_that_was_changed() -> None:
    world = World()
    green(world)
    world.bucket.changed = {world.run.run_id}
    shift = world.on_traffic_shifting()
    assert shift.may is May.FAILED and "is not the file that the trainer published" in shift.why
    assert world.prober.asked == []


def test_after_the_deadline_the_answer_is_no_whatever_else_goes_out() -> None:
    world = World()
    green(world)
    world.prober.says[2] = Proof(Verdict.NO_ANSWER, "refused")
    world.clock.forward(minutes=31)
    assert world.on_traffic_shifting().may is May.IN_PROGRESS
    world.on_deployment_changed()
    assert world.ledger.releases[2].state == "ROLLED_BACK"
    assert world.on_traffic_shifting(2).may is May.FAILED
