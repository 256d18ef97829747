"""Drops join batches; bad ones are quarantined; whatever is repeated or swapped changes nothing."""

from __future__ import annotations

from controlplane.domain.drops import Drop

from tests.flows.world import BAD, GOOD, World


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


class TestTheDatasetsOwnSettings:
    """raw/<dataset>/tidegate.yaml; in these tests written as JSON, which is YAML too."""

    def test_they_are_obeyed_by_the_next_run(self) -> None:
        world = World()
        said = b'{"recipe": "transformer", "encoder": "encoders/e5/", "max_data_shift": 1}'
        world.drop("raw/films/tidegate.yaml", said)
        world.dropped_run("raw/films/a.csv")
        spec = world.bucket.specs[world.run.run_id]
        assert (spec["recipe"], spec["knobs"]) == ("transformer", {"encoder": "encoders/e5/"})
        assert spec["limits"]["max_data_shift"] == 1
        assert [item["key"] for item in spec["snapshot"]["objects"]] == ["raw/films/a.csv"]

    def test_a_change_of_them_trains_again_and_a_change_back_does_not(self) -> None:
        world = World()
        first = world.promoted("raw/films/a.csv")
        second = world.dropped_run("raw/films/tidegate.yaml", b'{"knobs": {"passes": 3}}')
        assert second.run_id != first.run_id
        assert world.bucket.specs[second.run_id]["knobs"] == {"passes": 3}
        world.trainer_publishes(second, champion=first.run_id)
        world.on_model_published(second.run_id)
        world.drop("raw/films/tidegate.yaml", b"{}")
        world.wait(seconds=61)
        assert set(world.ledger.runs) == {first.run_id, second.run_id}

    def test_alone_they_are_nothing_to_train_on(self) -> None:
        world = World()
        world.drop("raw/films/tidegate.yaml", b'{"knobs": {"passes": 3}}')
        world.wait(seconds=61)
        assert world.ledger.runs == {}
        assert world.subjects == []

    def test_one_that_cannot_be_obeyed_is_refused_and_told_and_the_last_good_one_counts(self) -> None:
        world = World()
        world.drop("raw/films/tidegate.yaml", b'{"knobs": {"passes": 3}}')
        bad = world.drop("raw/films/tidegate.yaml", b'{"knbos": {"passes": 4}}')
        run = world.dropped_run("raw/films/a.csv")
        assert "Known are recipe, knobs" in world.bucket.reports[bad.drop_id][0].sentence
        assert world.subjects == ["Tidegate: 1 file refused in dataset films"]
        assert world.bucket.specs[run.run_id]["knobs"] == {"passes": 3}

    def test_columns_named_there_are_used_at_the_door(self) -> None:
        world = World()
        world.drop("raw/films/tidegate.yaml", b'{"text_column": "comment", "label_column": "stars"}')
        run = world.dropped_run("raw/films/a.csv", b"comment,stars\ngood,5\nbad,1\n")
        assert world.bucket.specs[run.run_id]["columns"] == {"text": "comment", "label": "stars"}
        refused = world.drop("raw/films/b.csv", GOOD)
        assert "comment" in world.bucket.reports[refused.drop_id][0].sentence

    def test_those_of_a_file_that_is_gone_are_forgotten(self) -> None:
        world = World()
        world.drop("raw/films/tidegate.yaml", b'{"text_column": "comment"}')
        world.bucket.delete("raw/films/tidegate.yaml")
        run = world.dropped_run("raw/films/a.csv")
        assert world.bucket.specs[run.run_id]["columns"] == {"text": None, "label": None}

    def test_those_of_a_file_that_cannot_be_obeyed_do_not_count(self) -> None:
        world = World()
        world.drop("raw/films/tidegate.yaml", b'{"text_column": "comment", "x": 1}')
        assert world.drop("raw/films/a.csv").drop_id not in world.bucket.reports

    def test_those_of_the_default_dataset_lie_in_raw_itself(self) -> None:
        world = World()
        world.drop("raw/tidegate.yaml", b'{"knobs": {"passes": 3}}')
        run = world.dropped_run("raw/a.csv")
        assert world.bucket.specs[run.run_id]["knobs"] == {"passes": 3}
