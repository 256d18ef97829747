"""A person takes back what rolls: it falls at once, as by anything else, and the last good release goes out again."""

from __future__ import annotations

from typing import Any

import pytest
from controlplane.domain.images import Push

from tests.flows.fakes import PENDING
from tests.flows.test_decisions import ADA, decide, served, two_releases
from tests.flows.world import World


class TestRollingBackWhileAReleaseRolls:
    """v1 and v2 served, v3 rolls."""

    def rolling(self) -> tuple[World, Push, Push]:
        world, first, second = two_releases()
        world.push("v3")
        return world, first, second

    @pytest.mark.parametrize("number", [None, 2])
    def test_takes_it_back_at_once_and_what_serves_goes_out_again(self, number: int | None) -> None:
        world, _, second = self.rolling()
        before = served(world)
        answer = decide(world, release=number)
        assert answer["said"].startswith("Done: takes release 3, which rolls, back at once: ")
        fallen = world.ledger.releases[3]
        assert (fallen.state, fallen.by) == ("ROLLED_BACK", "a person")
        assert (world.service.primary.release, served(world)) == (2, before)
        world.on_deployment_changed(world.service.completes())
        assert world.ledger.rollout().target is None and served(world) == before
        assert world.subjects[-2:] == ["Tidegate: release 3 rolled back", "Tidegate: release 2 serves again"]
        assert world.ledger.rollout().count == 3, "nothing new was proposed"

    def test_tells_once_who_and_why_what_serves_and_what_to_do(self) -> None:
        world, _, second = self.rolling()
        decide(world)
        [mail] = [mail for mail in world.notifier.mails if "release 3" in mail.subject]
        assert f"Why: a person: {ADA}: It answers nonsense" in mail.body
        assert f"image and model of release 2 roll out again (image {second.digest}" in mail.body
        assert "What to do: Nothing more, a person decided it." in mail.body
        [line] = [line for line in world.ledger.history if line.now == "ROLLED_BACK"]
        assert (line.was, line.why) == ("ROLLING", f"a person: {ADA}: It answers nonsense.")

    def test_told_twice_or_by_two_people_is_one_fall_and_one_way_back(self) -> None:
        world, _, _ = self.rolling()
        decide(world, decision_id="of-ada")
        made, mails = world.service.made, len(world.subjects)
        assert decide(world, decision_id="of-ada")["done"]
        said = decide(world, decision_id="of-bob")["said"]
        assert f"Already on its way: release 2 goes out again (a person: {ADA}: It answers nonsense.)" in said
        assert (world.service.made, len(world.subjects)) == (made, mails)
        world.on_deployment_changed(world.service.completes())
        world.clock.forward(minutes=9)
        assert "Already done: release 2 serves again" in decide(world, decision_id="of-bob-again")["said"]
        assert world.service.made == made

    def test_to_another_one_rolls_that_when_what_serves_has_come_back(self) -> None:
        world, first, second = self.rolling()
        assert "of release 1 when release 2 has come back" in decide(world, release=1)["said"]
        assert (world.ledger.releases[3].state, world.service.primary.release) == ("ROLLED_BACK", 2)
        world.on_deployment_changed(world.service.completes())
        assert (served(world)[0], world.service.primary.release) == (second.digest, 4)
        world.on_deployment_changed(world.service.completes())
        assert served(world)[0] == first.digest
        assert set(world.subjects[-4:-2]) == {
            "Tidegate: release 3 rolled back",
            "Tidegate: a person rolled back (release 4)",
        }
        assert world.subjects[-2:] == ["Tidegate: release 2 serves again", "Tidegate: release 4 serves"]

    def test_of_the_first_one_brings_the_placeholder(self) -> None:
        world = World()
        world.push("v1")
        assert "the placeholder goes out again" in decide(world)["said"]
        assert (world.ledger.releases[1].state, world.service.primary.release) == ("FAILED", None)
        assert "Already on its way: the placeholder goes out again" in decide(world, decision_id="d2")["said"]

    def test_drops_what_waits_and_tells_of_what_was_promised(self) -> None:
        world, _, _ = self.rolling()
        world.scans.otherwise = PENDING
        world.push("v4")
        decide(world, "release", decision_id="let-go")
        decide(world)
        assert world.ledger.releases[4].state == "RETIRED"
        [mail] = [mail for mail in world.notifier.mails if "release 4 was overtaken" in mail.subject]
        assert "what was there before was wanted again after it" in mail.body

    def test_that_came_to_serve_meanwhile_is_the_ordinary_rollback_of_it(self) -> None:
        world, _, second = self.rolling()
        read_releases, meanwhile = world.ledger.all_releases, [world.on_deployment_changed]

        def read_and_be_overtaken() -> Any:
            found = read_releases()
            if meanwhile:
                meanwhile.pop()(world.service.completes())
            return found

        world.ledger.all_releases = read_and_be_overtaken  # type: ignore[method-assign]
        assert decide(world)["said"].startswith(f"Done: goes back from release 3 to image {second.digest}")
        assert (world.ledger.releases[3].state, world.ledger.releases[4].takes_back) == ("SERVING", 3)
        world.on_deployment_changed(world.service.completes())
        assert served(world)[0] == second.digest

    def test_stops_what_rolls_also_when_the_image_of_what_serves_is_gone(self) -> None:
        world, _, second = self.rolling()
        del world.images.manifests[second.digest]
        assert decide(world)["said"].startswith("Done: takes release 3, which rolls, back at once: ")

    def test_tried_dry_names_both_and_changes_nothing(self) -> None:
        world, _, second = self.rolling()
        before, made = world.ledger.rollout(), world.service.made
        said = decide(world, dry_run=True)["said"]
        assert said.startswith("Would do: takes release 3, which rolls, back at once: ")
        assert f"image {second.digest}" in said and "of release 2 go out again" in said
        assert (world.ledger.rollout(), world.service.made) == (before, made)
