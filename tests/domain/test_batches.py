"""A batch settles when it was quiet, or open for too long; it remembers what was refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from controlplane.domain.batches import TOLD_BY_NAME, Batch, Patience
from controlplane.domain.drops import Drop, Finding

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PATIENCE = Patience(quiet=timedelta(seconds=60), max_wait=timedelta(seconds=150))


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def test_it_settles_when_nothing_came_for_the_quiet_time() -> None:
    batch = Batch.opened("films", NOON).with_accepted(NOON)
    assert batch.settles_in(NOON + seconds(59), PATIENCE) == seconds(1)
    assert batch.settles_in(NOON + seconds(60), PATIENCE) == seconds(0)


def test_a_later_drop_puts_it_off() -> None:
    batch = Batch.opened("films", NOON).with_accepted(NOON).with_accepted(NOON + seconds(50))
    assert batch.settles_in(NOON + seconds(60), PATIENCE) == seconds(50)


def test_but_never_beyond_the_longest_wait() -> None:
    batch = Batch.opened("films", NOON)
    for second in range(0, 150, 10):
        batch = batch.with_accepted(NOON + seconds(second))
    assert batch.settles_in(NOON + seconds(149), PATIENCE) == seconds(1)
    assert batch.accepted == 15


def test_drops_that_arrive_out_of_order_do_not_turn_back_its_clock() -> None:
    batch = Batch.opened("films", NOON).with_accepted(NOON + seconds(20)).with_accepted(NOON + seconds(5))
    assert batch.last_drop_at == NOON + seconds(20)


def test_a_refused_drop_counts_as_a_drop() -> None:
    finding = Finding("empty", "The file is empty.")
    batch = Batch.opened("films", NOON).with_refused(Drop("raw/films/a.csv", "e", 0), finding, NOON + seconds(30))
    assert batch.settles_in(NOON + seconds(60), PATIENCE) == seconds(30)
    assert (batch.accepted, batch.refused_count) == (0, 1)
    assert batch.refused[0].sentence == "The file is empty."


def test_the_first_refused_drops_are_named_and_all_are_counted() -> None:
    batch = Batch.opened("films", NOON)
    for number in range(TOLD_BY_NAME + 7):
        batch = batch.with_refused(Drop(f"raw/films/{number}.csv", "e", 0), Finding("empty", "Empty."), NOON)
    assert batch.refused_count == TOLD_BY_NAME + 7
    assert [drop.key for drop in batch.refused] == [f"raw/films/{number}.csv" for number in range(TOLD_BY_NAME)]


def test_two_batches_of_a_dataset_have_two_names() -> None:
    assert Batch.opened("films", NOON).batch_id != Batch.opened("films", NOON + seconds(1)).batch_id
