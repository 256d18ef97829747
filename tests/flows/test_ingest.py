"""Drops join batches; bad ones are quarantined; whatever is repeated or swapped changes nothing."""

from __future__ import annotations

from controlplane.domain.drops import Drop

from tests.flows.world import BAD, World


def test_a_good_drop_is_accepted_and_its_batch_settles_after_the_quiet_time() -> None:
    world = World()
    world.drop()
    world.wait(seconds=59)
    assert world.ledger.runs == {}
    world.wait(seconds=2)
    assert world.run.state == "LAUNCHING"
    assert world.ledger.batches == {}


def test_a_bad_drop_is_quarantined_with_a_report_and_stays_in_the_bucket() -> None:
    world = World()
    drop = world.drop("raw/bad.csv", BAD)
    world.wait(seconds=61)
    assert [finding.rule for finding in world.bucket.reports[drop.drop_id]] == ["header-only"]
    assert "raw/bad.csv" in world.bucket.objects
    assert world.ledger.runs == {}
    assert world.subjects == ["Tidegate: 1 file refused in dataset default"]


def test_refused_drops_make_one_alert_a_batch() -> None:
    world = World()
    for number in range(7):
        world.drop(f"raw/bad{number}.csv", BAD)
    world.drop("raw/good.csv")
    world.wait(seconds=61)
    assert world.subjects == ["Tidegate: 7 files refused in dataset default"]
    assert [found["key"] for found in world.bucket.specs[world.run.run_id]["snapshot"]["objects"]] == ["raw/good.csv"]


def test_drops_that_come_together_are_one_batch_and_one_run() -> None:
    world = World()
    for number in range(20):
        world.drop(f"raw/{number}.csv", b"text,label\ngood %d,pos\nbad,neg\n" % number)
        world.wait(seconds=5)
    world.wait(seconds=61)
    assert len(world.bucket.specs[world.run.run_id]["snapshot"]["objects"]) == 20
    assert len(world.fleet.launched) == 1


def test_a_stream_that_never_pauses_settles_after_the_longest_wait() -> None:
    world = World()
    for number in range(31):
        world.drop(f"raw/{number}.csv", b"text,label\ngood %d,pos\nbad,neg\n" % number)
        world.wait(seconds=30)
    assert len(world.ledger.runs) == 1
    [run] = world.ledger.runs.values()
    assert len(world.bucket.specs[run.run_id]["snapshot"]["objects"]) >= 30


def test_the_same_drop_five_times_is_one_drop() -> None:
    world = World()
    drop = world.drop()
    for _ in range(4):
        assert world.on_data_dropped(drop) == "known"
    assert world.ledger.batches["default"].accepted == 1
    world.wait(seconds=300)
    assert len(world.fleet.launched) == 1


def test_the_same_refused_drop_five_times_is_told_once() -> None:
    world = World()
    drop = world.drop("raw/bad.csv", BAD)
    for _ in range(4):
        world.on_data_dropped(drop)
    world.wait(seconds=300)
    assert world.subjects == ["Tidegate: 1 file refused in dataset default"]


def test_an_event_repeated_after_its_batch_settled_opens_no_new_one() -> None:
    world = World()
    drop = world.drop()
    world.wait(seconds=61)
    assert world.on_data_dropped(drop) == "known"
    assert world.ledger.batches == {}


def test_two_drops_swapped_are_the_same_run() -> None:
    runs = []
    for order in (0, 1), (1, 0):
        world = World()
        drops = [world.bucket.put(f"raw/{name}.csv", b"text,label\n%s,pos\nbad,neg\n" % name.encode()) for name in "ab"]
        for index in order:
            world.on_data_dropped(drops[index])
        world.wait(seconds=61)
        runs.append(world.run.run_id)
    assert runs[0] == runs[1]


def test_a_drop_that_was_deleted_before_it_was_read_is_ignored() -> None:
    world = World()
    drop = world.bucket.put("raw/a.csv", b"text,label\n")
    world.bucket.delete("raw/a.csv")
    assert world.on_data_dropped(drop).startswith("ignored")
    assert world.ledger.batches == {}


def test_an_overwritten_drop_counts_with_its_new_content() -> None:
    world = World()
    old = world.bucket.put("raw/a.csv", b"text,label\ngood,pos\nbad,neg\n")
    new = world.bucket.put("raw/a.csv", b"text,label\nbetter,pos\nworse,neg\n")
    world.on_data_dropped(new)
    world.on_data_dropped(old)
    world.wait(seconds=61)
    [found] = world.bucket.specs[world.run.run_id]["snapshot"]["objects"]
    assert (found["etag"], found["version_id"]) == (new.etag, new.version_id)


def test_a_folder_marker_is_ignored() -> None:
    world = World()
    assert world.on_data_dropped(Drop("raw/films/", "e", 0)).startswith("ignored")
    assert world.ledger.history == []


def test_each_dataset_has_a_batch_and_a_run_of_its_own() -> None:
    world = World()
    world.drop("raw/films/a.csv")
    world.drop("raw/books/a.csv")
    world.wait(seconds=61)
    assert sorted(run.dataset for run in world.ledger.runs.values()) == ["books", "films"]


def test_the_same_bytes_again_are_no_new_run() -> None:
    world = World()
    run = world.promoted()
    world.drop()
    world.wait(seconds=61)
    assert list(world.ledger.runs) == [run.run_id]
    assert len(world.fleet.launched) == 1


def test_drops_that_arrive_while_others_write_are_all_counted() -> None:
    """Two functions take in two drops of one dataset at the same moment: the second to write reads again."""
    world = World()
    first, second = (
        world.bucket.put(f"raw/{name}.csv", b"text,label\n%s,pos\nbad,neg\n" % name.encode()) for name in "ab"
    )
    read = world.ledger.batch
    pending = [second]

    def read_and_be_overtaken(dataset: str) -> object:
        seen = read(dataset)
        if pending:
            world.on_data_dropped(pending.pop())
        return seen

    world.ledger.batch = read_and_be_overtaken  # type: ignore[assignment, method-assign]
    assert world.on_data_dropped(first) == "accepted"
    assert world.ledger.batches["default"].accepted == 2
