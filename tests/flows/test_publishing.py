"""A model was published: it is judged once, served if it won, and its run fails when it cannot be believed."""

from __future__ import annotations

import pytest
from controlplane.ports import TryAgain

from tests.flows.world import OTHER, World


class TestModels:
    def test_the_first_model_that_beats_the_commonest_class_is_champion(self) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_publishes(run)
        world.on_model_published(run.run_id)
        assert world.state_of(run) == "PROMOTED"
        assert world.ledger.champion("default") == run.run_id
        assert world.subjects == [f"Tidegate: new champion in dataset default ({run.run_id})"]

    def test_the_same_manifest_five_times_is_one_verdict_and_one_alert(self) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_publishes(run)
        for _ in range(5):
            world.on_model_published(run.run_id)
        assert len(world.subjects) == 1
        assert [record.now for record in world.ledger.history].count("PROMOTED") == 1

    @pytest.mark.parametrize("model_first", [True, False])
    def test_a_published_model_wins_over_the_end_of_its_machine(self, *, model_first: bool) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_publishes(run)
        world.trainer_says(run, "trained", "Done.")
        if model_first:
            world.on_model_published(run.run_id)
            world.machine_ends(run)
        else:
            world.machine_ends(run)
            world.on_model_published(run.run_id)
        assert world.state_of(run) == "PROMOTED"
        assert list(world.fleet.launched) == ["i-1"]
        assert len(world.subjects) == 1

    def test_a_worse_challenger_is_refused_and_the_champion_stays(self) -> None:
        world = World()
        champion = world.promoted()
        worse = world.dropped_run("raw/b.csv", OTHER)
        assert world.bucket.specs[worse.run_id]["champion"] == champion.run_id
        world.trainer_publishes(worse, champion=champion.run_id, wins=20, losses=60, accuracy=0.76)
        world.on_model_published(worse.run_id)
        assert world.state_of(worse) == "REJECTED"
        assert world.ledger.champion("default") == champion.run_id
        assert world.subjects[-1] == f"Tidegate: challenger refused in dataset default ({worse.run_id})"
        assert world.ledger.rollout().model == champion.run_id

    def test_the_next_runs_data_is_compared_with_the_last_run_that_published_even_a_refused_one(self) -> None:
        world = World()
        champion = world.promoted()
        worse = world.dropped_run("raw/b.csv", OTHER)
        assert world.bucket.specs[worse.run_id]["baseline"] == champion.run_id
        world.trainer_publishes(worse, champion=champion.run_id, wins=20, losses=60, accuracy=0.76)
        world.on_model_published(worse.run_id)
        world.machine_ends(worse)
        third = world.dropped_run("raw/c.csv", b"text,label\nfine,pos\nawful,neg\n")
        assert world.bucket.specs[third.run_id]["baseline"] == worse.run_id
        assert world.bucket.specs[third.run_id]["champion"] == champion.run_id

    def test_a_better_challenger_replaces_it(self) -> None:
        world = World()
        world.promoted()
        better = world.promoted("raw/b.csv", OTHER)
        assert world.ledger.champion("default") == better.run_id

    def test_a_champion_of_another_dataset_leaves_what_serves(self) -> None:
        world = World(served_dataset="default")
        served = world.promoted()
        world.push("v1")
        other = world.promoted("raw/other/a.csv", OTHER)
        assert world.state_of(other) == "PROMOTED"
        assert world.ledger.champion("other") == other.run_id
        assert world.ledger.rollout().model == served.run_id
        assert world.ledger.rollout().waiting is None

    @pytest.mark.parametrize(
        ("field", "value", "why"),
        [
            ("run_id", "another", "another run"),
            ("dataset", "another", "another run"),
            ("snapshot_digest", "sha256:9", "another run"),
            ("contract", 2, "contract 2"),
            ("metrics", {}, "lacks"),
            ("created_at", "2026-01-01T12:00:00", "no time zone"),
            ("files", {"metrics.json": {"sha256": "forged"}}, "not the file that the manifest names"),
        ],
    )
    def test_a_manifest_that_cannot_be_believed_fails_the_run(self, field: str, value: object, why: str) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_publishes(run)
        world.bucket.manifests[run.run_id][field] = value
        world.on_model_published(run.run_id)
        assert world.state_of(run) == "FAILED"
        assert why in world.notifier.mails[0].body
        assert world.ledger.champion("default") is None

    @pytest.mark.parametrize(
        ("field", "value"),
        [("rows", {"accepted": 9, "rejected": 0, "train": None}), ("recipe", 7), ("data_shift", {"told": "much"})],
    )
    def test_one_whose_other_fields_cannot_be_shown_ends_the_run_all_the_same(self, field: str, value: object) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_publishes(run)
        world.bucket.manifests[run.run_id][field] = value
        world.on_model_published(run.run_id)
        assert world.state_of(run) == "PROMOTED"
        assert world.bucket.cards[run.run_id][0]["metrics"] is None

    def test_a_manifest_that_is_not_json_fails_the_run(self) -> None:
        world = World()
        run = world.dropped_run()
        world.bucket.manifests[run.run_id] = "not json"
        world.on_model_published(run.run_id)
        assert world.state_of(run) == "FAILED"

    def test_a_manifest_that_cannot_be_read_yet_comes_again(self) -> None:
        world = World()
        run = world.dropped_run()
        with pytest.raises(TryAgain):
            world.on_model_published(run.run_id)

    def test_a_model_of_no_run_is_ignored(self) -> None:
        world = World()
        world.on_model_published("unknown-1")
        assert world.ledger.history == []

    def test_a_run_that_failed_for_its_manifest_is_not_failed_again_by_the_same_one(self) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_publishes(run)
        world.bucket.manifests[run.run_id]["metrics"] = {}
        world.on_model_published(run.run_id)
        world.machine_ends(run)
        world.drop()
        world.wait(seconds=61)
        world.on_reconcile_due()
        again = world.ledger.runs[f"{run.run_id}-2"]
        assert again.state in {"LAUNCHING", "TRAINING"}
