"""What a run took and cost is told in its card, machine by machine, and in the mail."""

from __future__ import annotations

import json

import pytest

from tests.flows.world import World


class TestTheCard:
    def test_it_is_written_with_the_end_and_again_when_the_machine_is_gone(self) -> None:
        world = World()
        run = world.dropped_run()
        world.clock.forward(minutes=30)
        world.trainer_publishes(run)
        world.on_model_published(run.run_id)
        card, page = world.bucket.cards[run.run_id]
        assert (card["state"], card["minutes"], card["dollars"]) == (
            "PROMOTED",
            pytest.approx(30, rel=0.01),
            pytest.approx(0.02, rel=0.01),
        )
        assert card["attempts"][0]["ended"] == "still up when this was written"
        assert card["metrics"]["accuracy"] == 0.84
        world.clock.forward(minutes=30)
        world.machine_ends(run)
        card, page = world.bucket.cards[run.run_id]
        assert card["minutes"] == pytest.approx(60, rel=0.01)
        assert card["dollars"] == pytest.approx(0.04, rel=0.01)
        assert card["saved_dollars"] == pytest.approx(0.06, rel=0.01)
        assert card["attempts"][0]["ended"] == "the run was PROMOTED"
        assert "PROMOTED" in page

    def test_it_tells_every_machine_and_why_it_ended(self) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_says(run, "interrupted", "Spot notice; saved step 14.", cause="spot")
        world.machine_ends(run)
        second = world.ledger.runs[run.run_id]
        world.trainer_says(second, "failed", "45 % refused.")
        world.machine_ends(second)
        ends = [one["ended"] for one in world.bucket.cards[run.run_id][0]["attempts"]]
        assert ends == ["Spot notice; saved step 14.", "45 % refused."]

    def test_a_machine_that_takes_its_time_to_go_is_paid_until_it_is_gone(self) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_says(run, "stopped", "Used up.", cause="cost")
        world.on_attempt_ended(run.run_id, run.attempt)
        assert world.bucket.cards[run.run_id][0]["minutes"] < 1
        world.clock.forward(minutes=6)
        world.machine_ends(run)
        assert world.bucket.cards[run.run_id][0]["minutes"] == pytest.approx(6, rel=0.01)
        assert world.ledger.queue().billing == ()

    def test_a_machine_whose_end_nobody_told_is_found_and_counted(self) -> None:
        world = World()
        run = world.dropped_run()
        world.trainer_publishes(run)
        world.on_model_published(run.run_id)
        assert world.ledger.queue().billing == ((run.run_id, "default"),)
        world.fleet.gone.add("i-1")
        world.clock.forward(minutes=5)
        world.on_reconcile_due()
        assert [bill.machine for bill in world.ledger.bills("2026-01")] == ["i-1"]
        assert world.ledger.queue().billing == ()

    def test_the_mail_says_what_it_cost_what_it_would_have_cost_and_where_the_card_is(self) -> None:
        world = World()
        run = world.dropped_run()
        world.clock.forward(minutes=30)
        world.trainer_publishes(run)
        world.on_model_published(run.run_id)
        body = world.notifier.mails[0].body
        assert "30.0 machine minutes on c6i.large spot for $0.0200; on demand it would have cost $0.0500" in body
        assert f"s3://data/runs/{run.run_id}/card.html" in body

    def test_a_manifest_that_cannot_be_believed_is_not_shown(self) -> None:
        world = World()
        run = world.dropped_run()
        world.bucket.manifests[run.run_id] = json.dumps([])
        world.on_model_published(run.run_id)
        assert world.bucket.cards[run.run_id][0]["metrics"] is None
