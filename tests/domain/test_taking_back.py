"""A person rolls back while a release rolls: what falls, what comes back, and what goes out after it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from controlplane.domain.decisions import AlreadyDone, Plan, RefusedDecision, plan, roll_back
from controlplane.domain.releases import PLACEHOLDER, Release
from controlplane.domain.rollout import Rollout

from tests.domain.test_decisions import HISTORY, NOON, THREE, back, release, serving


class TestRollingBackWhileAReleaseRolls:
    ROLLING = release(4, "ROLLING", model="m4")

    def planned(self, number: int | None = None, *, serves: Release | None = THREE, history: Any = HISTORY) -> Plan:
        rollout = serving(serves) if serves else Rollout(count=4, image="sha256:4")
        return plan(back(number), replace(rollout, rolling=self.ROLLING), [*history, self.ROLLING], NOON)

    @pytest.mark.parametrize("number", [None, 3])
    def test_takes_that_back_at_once_to_what_serves(self, number: int | None) -> None:
        chosen = self.planned(number)
        assert (chosen.release, chosen.takes_back, chosen.by_the_fall) == (THREE, 4, True)
        assert chosen.sentence == (
            "takes release 4, which rolls, back at once: image sha256:3 and model m3 of release 3 go out again"
        )

    def test_to_the_same_image_and_model_as_what_serves_is_to_what_serves(self) -> None:
        twin = release(2, image="sha256:3", model="m3")
        assert self.planned(2, history=[twin, THREE]).release == THREE

    def test_takes_the_first_release_back_to_the_placeholder(self) -> None:
        chosen = self.planned(serves=None, history=[])
        assert (chosen.release, chosen.by_the_fall) == (PLACEHOLDER, True)
        assert chosen.sentence.endswith("no release served before it, so the placeholder goes out again")

    def test_takes_the_first_model_back_to_what_serves_without_one(self) -> None:
        bare = release(3, "SERVING", model=None)
        assert self.planned(serves=bare, history=[bare]).release == bare

    def test_goes_to_another_one_that_is_named_after_that(self) -> None:
        chosen = self.planned(1)
        assert (chosen.release, chosen.takes_back, chosen.by_the_fall) == (HISTORY[0], 3, False)
        assert chosen.sentence == (
            "takes release 4, which rolls, back at once: goes back from release 3 to image sha256:1 and model m1 of "
            "release 1 when release 3 has come back"
        )

    def test_goes_to_what_serves_also_when_somebody_wanted_to_leave_that_once(self) -> None:
        stopped = release(9, "ROLLED_BACK", takes_back=3)
        assert self.planned(history=[*HISTORY, stopped]).release == THREE

    def test_goes_to_no_other_if_the_same_rolls_already(self) -> None:
        pushed_again = replace(self.ROLLING, image="sha256:1", model="m1")
        with pytest.raises(AlreadyDone, match="release 4 rolls, with that image and model"):
            plan(back(1), serving(THREE, rolling=pushed_again), [*HISTORY, pushed_again], NOON)

    @pytest.mark.parametrize(("number", "said"), [(4, "never served: it is ROLLING"), (5, "There is no release 5")])
    def test_to_what_cannot_be_is_refused(self, number: int, said: str) -> None:
        with pytest.raises(RefusedDecision, match=said):
            self.planned(number)

    def test_makes_it_fall_by_a_person_and_drops_what_waited_or_was_held(self) -> None:
        waits, held = release(5, "PENDING", deployment=None), release(6, "HELD", deployment=None)
        before = serving(THREE, rolling=self.ROLLING, waiting=waits, held=held)
        after, changed = roll_back(back(), self.planned(), before, NOON)
        assert [(one.number, one.state, one.by, one.reason) for one in changed] == [
            (4, "ROLLED_BACK", "a person", "a person: ada: why"),
            (5, "RETIRED", "", "a person went back to what was there before"),
            (6, "RETIRED", "", "a person went back to what was there before"),
        ]
        assert after.going_back and after.going_back.cause == "back from release 4"
        assert (after.rolling, after.waiting, after.held, after.image) == (None, None, None, "sha256:3")
        assert roll_back(back(), self.planned(), after, NOON) == (after, []), "it is one decision"

    def test_says_what_is_dropped_and_lets_a_new_model_go_on(self) -> None:
        model, held = replace(release(5, "PENDING", deployment=None), image=None), release(6, "HELD", deployment=None)
        before = serving(THREE, rolling=self.ROLLING, waiting=model, held=held)
        chosen = plan(back(), before, [*HISTORY, self.ROLLING], NOON)
        assert chosen.sentence.endswith(
            "go out again; release 6, which is held, is dropped; release 5, a new model, rolls after it"
        )
        after, changed = roll_back(back(), chosen, before, NOON)
        assert [one.number for one in changed] == [4, 6]
        assert (after.waiting, after.held) == (model, None)

    def test_to_another_one_brings_that_ones_model_whatever_waits(self) -> None:
        bare, serves = release(1, model=None), release(3, "SERVING", model=None)
        model = replace(release(5, "PENDING", deployment=None), image=None, model="m5")
        before = serving(serves, rolling=self.ROLLING, waiting=model)
        chosen = plan(back(1), before, [bare, serves, self.ROLLING], NOON)
        assert chosen.sentence.endswith("; release 5, which waits, is dropped")
        after, _ = roll_back(back(1), chosen, before, NOON)
        assert after.waiting and (after.waiting.image, after.waiting.model) == ("sha256:1", None)

    def test_makes_the_first_one_fall_to_the_placeholder(self) -> None:
        before = Rollout(count=4, image="sha256:4", rolling=self.ROLLING)
        after, [fallen] = roll_back(back(), self.planned(serves=None, history=[]), before, NOON)
        assert (fallen.state, after.going_back and after.going_back.is_placeholder) == ("FAILED", True)
        assert after.propose("model m9", NOON, model="m9")[1] == [], "it is not tried again by itself"

    def test_of_the_first_one_is_done_when_the_placeholder_is_back(self) -> None:
        back_at = Rollout(count=4, back_at=NOON - timedelta(minutes=9))
        with pytest.raises(AlreadyDone, match="no release serves, the placeholder does since 11:51:00 UTC"):
            plan(back(), back_at, [], NOON)

    def test_to_another_one_makes_it_fall_and_that_one_wait(self) -> None:
        after, changed = roll_back(back(1), self.planned(1), serving(THREE, rolling=self.ROLLING), NOON)
        assert [(one.number, one.state) for one in changed] == [(4, "ROLLED_BACK"), (10, "PENDING")]
        assert after.start(NOON) == (after, None), "one at a time"
        assert after.waiting and (after.waiting.image, after.waiting.model, after.waiting.takes_back) == (
            "sha256:1",
            "m1",
            3,
        )
