"""Two functions at the same moment, or ten: one of them does the work, and the others see that it is done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from controlplane.domain.runs import Run
from controlplane.ports import TryAgain

from tests.flows import wired
from tests.flows.fakes import NO_CAPACITY, Ring
from tests.flows.world import World


class TestTwoFunctionsAtOnce:
    def test_one_that_lost_the_race_for_the_queue_looks_again_and_gets_its_machine(self) -> None:
        world = World()
        world.drop("raw/a/a.csv")
        world.drop("raw/b/a.csv")
        world.clock.forward(seconds=61)
        first, second = world.timer.rings
        save = world.ledger.save_run
        raced: list[str] = []

        def overtaken(run: Run, *args: object, **kwargs: object) -> Run:
            if not raced:
                raced.append(run.run_id)
                world.on_batch_settled(second)
            return save(run, *args, **kwargs)  # type: ignore[arg-type]

        world.ledger.save_run = overtaken  # type: ignore[method-assign]
        world.on_batch_settled(first)
        assert {run.machine for run in world.ledger.runs.values()} == {"i-1", "i-2"}

    def test_one_that_was_refused_while_another_one_changed_the_queue_waits_all_the_same(self) -> None:
        world = World()
        world.fleet.refusals = [NO_CAPACITY]
        save = world.ledger.save_run
        raced: list[str] = []

        def overtaken(run: Run, *args: object, **kwargs: object) -> Run:
            if run.refusals and not raced:
                raced.append(run.run_id)
                world.ledger.runs_queue = replace(world.ledger.runs_queue, version=world.ledger.runs_queue.version + 1)
            return save(run, *args, **kwargs)  # type: ignore[arg-type]

        world.ledger.save_run = overtaken  # type: ignore[method-assign]
        run = world.dropped_run()
        assert (run.state, run.refusals) == ("QUEUED", 1)
        world.wait(seconds=121)
        assert world.run.machine == "i-1"

    def test_and_no_machine_when_the_last_slot_was_taken_meanwhile(self) -> None:
        world = World(max_concurrent=1)
        world.drop("raw/a/a.csv")
        world.drop("raw/b/a.csv")
        world.clock.forward(seconds=61)
        for ring in world.timer.rings:
            wired.training(world).settle(str(ring.dataset), ring.batch, world.clock.now, patience=wired.PATIENCE)
        save = world.ledger.save_run
        raced: list[str] = []

        def overtaken(run: Run, *args: object, **kwargs: object) -> Run:
            if not raced:
                raced.append(run.run_id)
                world.on_batch_settled(Ring(world.clock.now))
            return save(run, *args, **kwargs)  # type: ignore[arg-type]

        world.ledger.save_run = overtaken  # type: ignore[method-assign]
        world.on_batch_settled(Ring(world.clock.now))
        assert list(world.fleet.launched) == ["i-1"]


class OneAtATime:
    """A store whose every call is atomic, as a conditional write is; between two calls anybody may come in."""

    def __init__(self, port: object) -> None:
        self._port, self._lock = port, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not callable(method):
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                return method(*args, **kwargs)

        return call


def ten_times_at_once(event: Callable[[], object]) -> None:
    """Ten functions in threads, none of which starts before all are there. One that loses a race is retried."""
    together = threading.Barrier(10)
    faults: list[BaseException] = []

    def function() -> None:
        together.wait()
        try:
            event()
        except TryAgain:
            pass  # its event comes again, later
        except BaseException as fault:  # noqa: BLE001  told below, in the test's own thread
            faults.append(fault)

    threads = [threading.Thread(target=function) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


class TestTenAtOnce:
    def world(self) -> World:
        world = World()
        world.ledger, world.fleet = OneAtATime(world.ledger), OneAtATime(world.fleet)  # type: ignore[assignment]
        return world

    def test_the_same_launch_event_starts_one_machine(self) -> None:
        for _ in range(20):
            world = self.world()
            world.drop()
            world.clock.forward(seconds=61)
            [ring] = world.timer.rings
            ten_times_at_once(lambda world=world, ring=ring: world.on_batch_settled(ring))  # type: ignore[misc]
            assert list(world.fleet.launched) == ["i-1"]
            assert (world.run.machine, world.run.attempt) == ("i-1", 1)

    def test_the_same_last_word_starts_one_next_machine(self) -> None:
        for _ in range(20):
            world = self.world()
            run: Run = world.dropped_run()
            world.trainer_says(run, "interrupted", "Spot notice.", cause="spot")
            ten_times_at_once(lambda world=world, run=run: world.on_attempt_ended(run.run_id, 1))  # type: ignore[misc]
            assert list(world.fleet.launched) == ["i-1", "i-2"]
            assert (world.run.machine, world.run.attempt) == ("i-2", 2)
