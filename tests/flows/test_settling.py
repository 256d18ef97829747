"""New tasks prove themselves before a release serves; what falls is taken back, and each end is told once."""

from __future__ import annotations

from controlplane.domain.failures import FailedTask
from controlplane.domain.probes import Proof, Verdict

from tests.flows.test_releasing import rolled_out, served
from tests.flows.world import World, alarm

WRONG = Proof(Verdict.DISAGREES, "golden set: 3 of 32 rows got another label")
SILENT = Proof(Verdict.NO_ANSWER, "GET /version got no answer: refused")
NOT_READY = Proof(Verdict.NOT_READY, "GET /ready answered 503: loading")


def state(world: World, number: int) -> str:
    return world.ledger.releases[number].state.value


def test_every_task_is_asked_with_the_rows_of_its_model_and_once() -> None:
    world = World()
    run = world.promoted()
    push = rolled_out(world, "v1")
    [(question, addresses)] = world.prober.asked
    assert (question.release, question.digest, question.model) == (1, push.digest, run.run_id)
    assert [row.label for row in question.rows] == ["pos"]
    assert addresses == ("10.77.1.0:8080", "10.77.1.1:8080")


def test_without_a_model_there_are_no_rows_to_ask() -> None:
    world = World()
    rolled_out(world, "v1")
    assert [(question.model, question.rows) for question, _ in world.prober.asked] == [(None, ())]


def test_a_task_that_agreed_is_not_asked_again() -> None:
    world = World()
    world.push("v1")
    world.service.up = 1
    world.on_deployment_changed()
    world.on_deployment_changed(world.service.completes())
    assert [addresses for _, addresses in world.prober.asked] == [("10.77.1.0:8080",), ("10.77.1.1:8080",)]
    assert state(world, 1) == "SERVING"


def test_a_first_new_task_that_disagrees_takes_the_release_back_while_the_old_ones_serve() -> None:
    world = World()
    good = rolled_out(world, "v1")
    world.push("v2")
    world.prober.says[2], world.service.up = WRONG, 1
    world.failed_tasks.known[2] = FailedTask("t", log=("warmed up",))
    world.on_deployment_changed()
    assert (state(world, 2), world.service.primary.release) == ("ROLLED_BACK", 1)
    assert world.subjects[-1] == "Tidegate: release 2 rolled back"
    body = world.notifier.mails[-1].body
    assert "the smoke test: golden set: 3 of 32 rows got another label (task t2-0)" in body
    assert "  | warmed up" in body and "image and model of release 1 roll out again" in body
    world.on_deployment_changed(world.service.completes())
    assert served(world)[0] == good.digest
    assert world.subjects[-1] == "Tidegate: release 1 serves again"


def test_a_release_that_completed_before_it_was_asked_is_taken_back_all_the_same() -> None:
    world = World()
    rolled_out(world, "v1")
    world.push("v2")
    world.prober.says[2] = WRONG
    world.on_deployment_changed(world.service.completes())
    assert (state(world, 2), world.service.primary.release) == ("ROLLED_BACK", 1)


def test_a_first_release_that_disagrees_fails_and_the_placeholder_goes_out_again() -> None:
    """No answers are better than wrong ones."""
    world = World()
    world.push("v1")
    world.prober.says[1] = WRONG
    world.on_deployment_changed(world.service.completes())
    world.on_reconcile_due()
    assert (state(world, 1), world.service.made, world.service.primary.release) == ("FAILED", 2, None)
    assert "there is none to go back to: the placeholder goes out again" in world.notifier.mails[-1].body
    world.on_deployment_changed(world.service.completes())
    assert world.subjects == ["Tidegate: release 1 failed", "Tidegate: the placeholder serves again"]
    assert "No release serves: the placeholder answers." in world.notifier.mails[-1].body
    world.on_reconcile_due()
    assert (world.service.made, len(world.subjects)) == (2, 2)
    good = rolled_out(world, "v2")
    assert served(world)[0] == good.digest


def test_a_placeholder_that_does_not_come_back_is_told_and_the_next_push_rolls() -> None:
    world = World()
    world.push("v1")
    world.prober.says[1] = WRONG
    world.on_deployment_changed(world.service.completes())
    world.push("v2")
    assert state(world, 2) == "PENDING"
    world.on_deployment_changed(world.service.breaks("cannot pull python"))
    mail = next(mail for mail in world.notifier.mails if mail.subject == "Tidegate: the placeholder did not come back")
    assert "cannot pull python" in mail.body and "may still run" in mail.body
    assert state(world, 2) == "ROLLING"


def test_a_placeholder_that_did_not_come_back_is_tried_again() -> None:
    world = World()
    world.push("v1")
    world.prober.says[1] = WRONG
    world.on_deployment_changed(world.service.completes())
    world.service.running = 1
    world.on_deployment_changed(world.service.breaks("cannot pull python"))
    assert world.service.primary.release == 1
    world.on_reconcile_due()
    assert world.service.primary.release is None
    world.on_deployment_changed(world.service.completes())
    told = [subject.removeprefix("Tidegate: ") for subject in world.subjects[-3:]]
    assert told == [
        "the placeholder did not come back",
        "the service had left the placeholder",
        "the placeholder serves again",
    ]


def test_what_came_back_at_the_second_try_is_told() -> None:
    world = World()
    rolled_out(world, "v1")
    world.push("v2")
    world.on_deployment_changed(world.service.breaks())
    world.service.running = 2
    world.on_deployment_changed(world.service.breaks("no address is free"))
    world.on_reconcile_due()
    world.on_deployment_changed(world.service.completes())
    assert "Tidegate: release 1 did not come back" in world.subjects
    assert world.subjects[-1] == "Tidegate: release 1 serves again"


def test_a_rollback_comes_back_though_its_golden_set_was_lost() -> None:
    world = World()
    run = world.promoted()
    rolled_out(world, "v1")
    rolled_out(world, "v2")
    world.on_person_decided({"action": "roll_back", "release": None, "why": "Slow.", "by": "ada"})
    world.bucket.changed = {run.run_id}
    world.on_deployment_changed(world.service.completes())
    assert state(world, 3) == "SERVING"


def test_a_rollback_on_the_way_to_the_placeholder_is_answered_with_it() -> None:
    world = World()
    world.push("v1")
    world.prober.says[1] = WRONG
    world.on_deployment_changed(world.service.completes())
    answer = world.on_person_decided({"action": "roll_back", "release": None, "why": "Wrong labels.", "by": "ada"})
    assert answer["said"].startswith("Already on its way: the placeholder goes out again (the smoke test")


def test_a_task_that_could_not_be_asked_is_asked_again_after_ten_seconds() -> None:
    world = World()
    world.push("v1")
    world.prober.says[1] = SILENT
    world.on_deployment_changed(world.service.completes())
    assert (state(world, 1), world.subjects) == ("ROLLING", [])
    world.prober.says.clear()
    world.wait(seconds=9)
    assert state(world, 1) == "ROLLING"
    world.wait(seconds=1)
    assert state(world, 1) == "SERVING"


def test_however_many_events_come_there_is_one_chain_of_looks() -> None:
    world = World()
    world.push("v1")
    for _ in range(7):
        world.on_deployment_changed()
    assert len(world.timer.rings) == 1
    world.wait(minutes=5)
    assert len(world.timer.rings) == 1
    world.on_deployment_changed(world.service.completes())
    world.wait(minutes=1)
    assert world.timer.rings == [], "nothing rolls, nothing is looked at"


def test_a_chain_that_broke_is_mended_by_the_next_event() -> None:
    world = World()
    world.push("v1")
    world.on_deployment_changed()
    world.timer.rings.clear()
    world.on_deployment_changed()
    assert world.timer.rings == [], "the next look is not overdue yet"
    world.clock.forward(minutes=1)
    world.on_deployment_changed()
    assert len(world.timer.rings) == 1


def test_what_is_never_done_is_taken_back_at_the_deadline() -> None:
    world = World()
    rolled_out(world, "v1")
    world.push("v2")
    world.prober.says[2] = SILENT
    world.on_deployment_changed(world.service.completes())
    world.wait(minutes=29)
    assert state(world, 2) == "ROLLING"
    world.wait(minutes=2)
    assert (state(world, 2), world.service.primary.release) == ("ROLLED_BACK", 1)
    assert "the deadline: It was not done after 30 minutes" in world.notifier.mails[-1].body
    assert "GET /version got no answer: refused" in world.notifier.mails[-1].body


def test_not_ready_while_it_rolls_is_waited_for_and_after_that_it_is_not() -> None:
    world = World()
    rolled_out(world, "v1")
    world.push("v2")
    world.prober.says[2], world.service.up = NOT_READY, 2
    world.on_deployment_changed()
    assert state(world, 2) == "ROLLING"
    world.on_deployment_changed(world.service.completes())
    assert state(world, 2) == "ROLLED_BACK"


def test_what_waits_is_rolled_out_when_the_good_one_is_back() -> None:
    world = World()
    rolled_out(world, "v1")
    world.push("v2")
    world.prober.says[2] = WRONG
    world.service.completes()
    world.push("v3")
    world.on_deployment_changed()
    assert (state(world, 2), state(world, 3)) == ("ROLLED_BACK", "PENDING")
    world.on_deployment_changed(world.service.completes())
    assert state(world, 3) == "ROLLING"


def test_a_way_back_that_fails_is_told_and_what_waits_is_rolled_out() -> None:
    world = World()
    rolled_out(world, "v1")
    world.push("v2")
    world.prober.says[2] = WRONG
    world.service.completes()
    world.push("v3")
    world.on_deployment_changed()
    world.wait(minutes=31)
    assert "Tidegate: release 1 did not come back" in world.subjects
    assert state(world, 3) == "ROLLING"


def test_a_golden_set_that_was_changed_judges_nothing_and_its_release_falls_for_that() -> None:
    world = World()
    run = world.promoted()
    rolled_out(world, "v1")
    world.push("v2")
    world.bucket.changed, world.service.up = {run.run_id}, 1
    asked = len(world.prober.asked)
    world.on_deployment_changed()
    assert (state(world, 2), world.service.primary.release, len(world.prober.asked)) == ("ROLLED_BACK", 1, asked)
    assert f"the smoke test: golden.json of model {run.run_id} is not the file" in world.notifier.mails[-1].body
    world.on_deployment_changed(world.service.completes())
    assert world.subjects[-1] == "Tidegate: release 1 serves again", "which proved itself when it came"


def test_a_deploy_that_asked_before_a_release_began_does_not_end_it() -> None:
    world = World()
    rolled_out(world, "v1")
    newest = world.push("v2")
    world.service.set_by_another(1)
    world.on_deployment_changed()
    assert (state(world, 2), world.service.primary.release) == ("ROLLING", 2)
    world.on_deployment_changed(world.service.completes())
    assert served(world)[0] == newest.digest
    assert "Tidegate: release 2 rolled back" not in world.subjects
    assert any("took its place with release 1" in line.why for line in world.ledger.history)


def test_a_deployment_that_comes_back_time_and_again_is_not_fought_for_ever() -> None:
    world = World()
    rolled_out(world, "v1")
    world.push("v2")
    for _ in range(3):
        world.service.set_by_another(1)
        world.on_deployment_changed()
    assert (state(world, 2), world.service.primary.release) == ("ROLLED_BACK", 1)
    assert "another deployment: somebody else's deployment" in world.notifier.mails[-1].body


def test_a_way_back_that_somebody_elses_deployment_takes_the_place_of_is_asked_for_again() -> None:
    world = World()
    rolled_out(world, "v1")
    world.push("v2")
    world.on_deployment_changed(world.service.breaks())
    world.service.set_by_another(2)
    world.on_deployment_changed()
    assert world.service.primary.release == 1
    world.on_deployment_changed(world.service.completes())
    assert world.subjects[-1] == "Tidegate: release 1 serves again"


class TestAnAlarm:
    def test_while_a_release_rolls_takes_it_back_once(self) -> None:
        world = World()
        rolled_out(world, "v1")
        world.push("v2")
        world.failed_tasks.known[2] = FailedTask("t", log=("Traceback",))
        world.clock.forward(seconds=30)
        change = alarm("errors-high", world.clock.now)
        for _ in range(3):
            world.on_alarm_changed(change)
        assert (state(world, 2), world.service.made) == ("ROLLED_BACK", 3)
        told = {mail.subject: mail.body for mail in world.notifier.mails[1:]}
        assert set(told) == {"Tidegate: release 2 rolled back", "Tidegate: ALARM tidegate-errors-high"}
        assert "alarm tidegate-errors-high: over the threshold" in told["Tidegate: release 2 rolled back"]
        assert "  | Traceback" in told["Tidegate: release 2 rolled back"]

    def test_that_flaps_on_the_way_back_and_after_it_takes_nothing_more_back(self) -> None:
        world = World()
        for tag in ("v1", "v2"):
            rolled_out(world, tag)
        world.push("v3")
        world.on_alarm_changed(alarm("errors-high", world.clock.now))
        made = world.service.made
        for name in ("OK", "ALARM", "OK", "ALARM"):
            world.clock.forward(seconds=20)
            before = "OK" if name == "ALARM" else "ALARM"
            world.on_alarm_changed(alarm("errors-high", world.clock.now, name, before))
        world.on_deployment_changed(world.service.completes())
        world.clock.forward(minutes=1)
        world.on_alarm_changed(alarm("errors-high", world.clock.now))
        assert "went back to release 2 only now" in world.notifier.mails[-1].body
        assert (world.service.made, world.service.primary.release) == (made, 2)

    def test_of_before_the_release_leaves_it_alone(self) -> None:
        world = World()
        rolled_out(world, "v1")
        change = alarm("errors-high", world.clock.now)
        world.clock.forward(seconds=5)
        world.push("v2")
        world.on_alarm_changed(change)
        assert state(world, 2) == "ROLLING"

    def test_that_takes_back_what_serves_tells_what_its_tasks_said_last(self) -> None:
        world = World()
        for tag in ("v1", "v2"):
            rolled_out(world, tag)
        world.failed_tasks.known[2] = FailedTask("t", log=("500", "500"))
        world.on_alarm_changed(alarm("errors-high", world.clock.now))
        assert "  | 500" in world.notifier.mails[-1].body
