"""Capacity: pools that rest, growing gaps, on-demand, what a person has to mend, who waits and who is replaced."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from controlplane.domain.pools import Pool, SpotPolicy, pools_of
from controlplane.domain.runs import Machine, Run

from tests.flows import wired
from tests.flows.fakes import BAD_REQUEST, NO_CAPACITY, Ring, refused
from tests.flows.world import OTHER, POOLS, World

THIRD = b"text,label\nfine,pos\npoor,neg\n"


def asked(world: World, attempt: int) -> tuple[str, set[Pool]]:
    run = world.run
    told = world.fleet.asked[f"{run.run_id}-{attempt}"]
    return told.lifecycle, set(told.pools)


def no_spot_anywhere(world: World) -> None:
    world.fleet.empty = {("spot", pool) for pool in POOLS}


class TestPools:
    def test_all_pools_are_asked_for_spot(self) -> None:
        world = World()
        world.dropped_run()
        assert asked(world, 1) == ("spot", set(POOLS))

    def test_a_pool_that_took_its_machine_back_is_left_out_for_a_while(self) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_says(run, "interrupted", "Spot notice.", cause="spot")
        world.on_attempt_ended(run.run_id, 1)
        assert asked(world, 2) == ("spot", set(POOLS) - {POOLS[0]})
        world.clock.forward(minutes=31)
        world.machine_ends(run)
        assert asked(world, 3) == ("spot", set(POOLS) - {POOLS[1]})

    def test_pools_that_refused_are_left_out_for_other_runs_too(self) -> None:
        world = World()
        world.fleet.refusals = [refused("InsufficientInstanceCapacity", "none", *POOLS[:4])]
        world.dropped_run()
        world.wait(seconds=121)
        assert asked(world, 2) == ("spot", set(POOLS[4:]))

    def test_when_every_pool_refused_all_are_asked_again(self) -> None:
        world = World()
        no_spot_anywhere(world)
        world.dropped_run()
        world.wait(seconds=121)
        assert asked(world, 2) == ("spot", set(POOLS))

    def test_too_few_pools_are_told_of_once_and_the_run_goes_on(self) -> None:
        world = World()
        world.policy = replace(world.policy, pools=pools_of(["c6i.large"], ["s-a", "s-b"]))
        run = world.dropped_run()
        world.machine_ends(run)
        assert world.ledger.runs[run.run_id].machine == "i-2"
        assert world.subjects == ["Tidegate: few pools to take machines from"]
        assert "There are 2 pools" in world.notifier.mails[0].body

    def test_the_machine_has_its_guard(self) -> None:
        world = World()
        world.dropped_run()
        launched = world.fleet.launched["i-1"][1]
        assert world.guard.schedules == {"i-1": launched + timedelta(hours=4, minutes=10)}


class TestOnDemand:
    def test_when_no_pool_has_spot_it_is_on_demand_after_so_many_tries(self) -> None:
        world = World()
        no_spot_anywhere(world)
        run = world.dropped_run()
        world.wait(minutes=2 + 4 + 8 + 1)
        now = world.ledger.runs[run.run_id]
        assert [asked(world, attempt)[0] for attempt in (1, 2, 3, 4)] == ["spot", "spot", "spot", "on-demand"]
        assert (now.machine, now.stints[0].lifecycle) == ("i-1", "on-demand")
        assert world.subjects == [f"Tidegate: run {run.run_id} waits for a machine"]

    def test_after_so_many_interruptions_too(self) -> None:
        world = World()
        run = world.dropped_run()
        for attempt in (1, 2, 3):
            world.trainer_says(world.run, "interrupted", "Spot notice.", cause="spot")
            world.on_attempt_ended(run.run_id, attempt)
        assert [stint.lifecycle for stint in world.run.stints] == ["spot", "spot", "spot", "on-demand"]
        assert world.ledger.history[-2].why == "attempt 4, on-demand after 3 lost Spot attempts"

    def test_when_the_deadline_would_be_missed(self) -> None:
        world = World()
        world.policy = replace(world.policy, spot=SpotPolicy(9, timedelta(hours=5)))
        world.caps = replace(world.caps, hours=24)
        run = world.dropped_run()
        assert asked(world, 1)[0] == "spot"
        world.clock.forward(hours=3)
        world.trainer_says(run, "interrupted", "Spot notice.", cause="spot")
        world.on_attempt_ended(run.run_id, 1)
        assert asked(world, 2)[0] == "spot", "an hour is left to train, and two until the deadline"
        world.clock.forward(hours=1, minutes=30)
        world.machine_ends(run)
        world.on_machine_changed("i-2", alive=False)
        assert asked(world, 3)[0] == "spot"
        world.clock.forward(hours=1)
        world.machine_ends(run)
        assert asked(world, 4)[0] == "on-demand"

    def test_throttling_uses_up_no_try(self) -> None:
        world = World()
        world.fleet.refusals = [refused("RequestLimitExceeded")] * 5
        world.dropped_run()
        world.wait(hours=2)
        assert [stint.lifecycle for stint in world.run.stints] == ["spot"]


class TestWaiting:
    def test_the_gaps_grow_and_nobody_asks_in_between(self) -> None:
        world = World()
        world.fleet.refusals = [NO_CAPACITY] * 5
        world.dropped_run()
        times = []
        for _ in range(60):
            times.append((world.run.attempt, world.clock.now))
            world.on_reconcile_due()
            world.on_batch_settled(Ring(world.clock.now))
            world.wait(minutes=1)
        first = {attempt: min(at for number, at in times if number == attempt) for attempt, _ in times}
        gaps = [round((first[n + 1] - first[n]).total_seconds() / 60) for n in range(1, 6)]
        assert gaps == [2, 4, 8, 15, 15]

    def test_people_are_told_once_with_the_next_try(self) -> None:
        world = World()
        world.fleet.refusals = [NO_CAPACITY] * 3
        world.dropped_run()
        world.wait(minutes=10)
        [mail] = world.notifier.mails
        assert "EC2 is asked again at 12:03:00 UTC" in mail.body
        assert "(capacity, InsufficientInstanceCapacity)" in mail.body

    def test_an_interrupted_run_that_finds_no_machine_keeps_its_slot(self) -> None:
        world = World(max_concurrent=1)
        run = world.dropped_run()
        world.fleet.refusals = [NO_CAPACITY]
        world.machine_ends(run)
        assert (world.run.state, world.ledger.queue().active) == ("INTERRUPTED", ((run.run_id, "default"),))
        world.dropped_run("raw/b/a.csv")
        world.wait(seconds=121)
        assert world.ledger.runs[run.run_id].machine == "i-2"

    def test_after_a_machine_the_gaps_begin_anew(self) -> None:
        world = World()
        world.fleet.refusals = [NO_CAPACITY] * 2
        world.dropped_run()
        world.wait(minutes=10)
        assert (world.run.machine, world.run.refusals, world.run.not_before) == ("i-1", 0, None)


class TestWhatAPersonHasToMend:
    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("InvalidAMIID.NotFound", "Give TrainerAmi"),
            ("UnauthorizedOperation", "Deploy the stack again"),
            ("InvalidParameterValue", "InstanceTypes"),
            ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", "aws iam create-service-linked-role"),
        ],
    )
    def test_it_fails_the_run_at_once_and_says_what_to_do(self, code: str, words: str) -> None:
        world = World()
        world.fleet.refusals = [refused(code, "the reason", *POOLS)]
        world.dropped_run()
        assert world.run.state == "FAILED"
        [mail] = world.notifier.mails
        assert f"({code}): the reason" in mail.body
        assert words in mail.body.partition("What to do: ")[2]
        assert world.timer.rings == []

    def test_a_missing_role_is_told_once_in_the_mail(self) -> None:
        world = World()
        world.account.has_spot_role = False
        world.fleet.refusals = [refused("AuthFailure.ServiceLinkedRoleCreationNotPermitted")]
        world.dropped_run()
        assert world.notifier.mails[0].body.count("create-service-linked-role") == 1

    def test_an_account_that_may_have_no_spot_machines_hears_the_command(self) -> None:
        world = World()
        world.account.vcpus = 0
        world.fleet.refusals = [refused("MaxSpotInstanceCountExceeded")]
        world.dropped_run()
        assert "--quota-code L-34B43A08" in world.notifier.mails[0].body

    def test_the_account_is_looked_at_once_a_run_and_only_when_ec2_refuses(self) -> None:
        world = World()
        world.fleet.refusals = [NO_CAPACITY] * 3
        world.dropped_run()
        world.wait(minutes=30)
        assert world.account.looked_at == 1
        world.dropped_run("raw/b/a.csv")
        assert world.account.looked_at == 1

    def test_one_that_fails_does_not_keep_the_next_from_its_turn(self) -> None:
        world = World(max_concurrent=1)
        world.dropped_run("raw/a/a.csv")
        second, third = world.dropped_run("raw/b/a.csv"), world.dropped_run("raw/c/a.csv")
        world.fleet.refusals = [BAD_REQUEST]
        first = next(run for run in world.ledger.runs.values() if run.dataset == "a")
        world.trainer_says(first, "failed", "No.")
        world.machine_ends(first)
        states = [world.ledger.runs[run.run_id].state for run in (first, second, third)]
        assert states == ["FAILED", "FAILED", "LAUNCHING"]


class TestTheNewestSnapshot:
    def test_it_takes_the_place_of_one_that_still_waits(self) -> None:
        world = World(max_concurrent=1)
        world.dropped_run("raw/first/a.csv")
        older = world.dropped_run("raw/films/a.csv")
        behind = world.dropped_run("raw/later/a.csv")
        newer = world.dropped_run("raw/films/b.csv", OTHER)
        queue = world.ledger.queue()
        assert [name for name, _ in queue.waiting] == [newer.run_id, behind.run_id]
        ended = world.ledger.runs[older.run_id]
        assert ended.state == "CANCELLED"
        assert ended.reason == f"replaced by {newer.run_id}, a newer snapshot of dataset films"
        assert (f"run {older.run_id}", "QUEUED", "CANCELLED") in [
            (record.subject, record.was, record.now) for record in world.ledger.history
        ]
        assert world.subjects == []

    def test_one_that_waits_for_capacity_is_replaced_too(self) -> None:
        world = World()
        world.fleet.refusals = [NO_CAPACITY]
        older = world.dropped_run()
        newer = world.dropped_run("raw/b.csv", OTHER)
        world.wait(minutes=10)
        assert world.ledger.runs[older.run_id].state == "CANCELLED"
        assert world.ledger.runs[newer.run_id].machine == "i-1"
        assert list(world.fleet.launched) == ["i-1"]

    def test_one_that_is_refused_after_it_came_is_replaced_too(self) -> None:
        world = World()
        world.fleet.refusals = [NO_CAPACITY]
        launch = world.fleet.launch
        raced: list[str] = []

        def meanwhile(run: Run) -> Machine:
            if not raced:
                raced.append(run.run_id)
                world.drop("raw/b.csv", OTHER)
                world.clock.forward(seconds=61)
                ring = world.timer.rings[-1]
                wired.training(world).settle(str(ring.dataset), ring.batch, world.clock.now, patience=wired.PATIENCE)
            return launch(run)

        world.fleet.launch = meanwhile  # type: ignore[method-assign]
        world.drop()
        world.wait(seconds=61)
        older, newer = (world.ledger.runs[name] for name in (raced[0], world.ledger.queue().active[0][0]))
        assert (older.state, newer.machine) == ("CANCELLED", "i-1")
        assert older.reason == f"replaced by {newer.run_id}, a newer snapshot of dataset default"
        assert world.ledger.queue().waiting == ()

    def test_one_that_trains_is_left_to_end(self) -> None:
        world = World()
        first = world.dropped_run()
        second = world.dropped_run("raw/b.csv", OTHER)
        third = world.dropped_run("raw/c.csv", THIRD)
        states = [world.ledger.runs[run.run_id].state for run in (first, second, third)]
        assert states == ["LAUNCHING", "CANCELLED", "QUEUED"]

    def test_a_replaced_snapshot_that_comes_back_is_trained(self) -> None:
        world = World(max_concurrent=1)
        world.dropped_run("raw/first/a.csv")
        older = world.dropped_run("raw/films/a.csv")
        world.dropped_run("raw/films/b.csv", OTHER)
        world.bucket.delete("raw/films/b.csv")
        world.drop("raw/films/a.csv")
        world.wait(seconds=61)
        assert world.ledger.runs[f"{older.run_id}-2"].state == "QUEUED"
