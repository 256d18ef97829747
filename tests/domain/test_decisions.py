"""What a person may decide, and the sentence that a mistake is answered with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from controlplane.domain.decisions import (
    JUST,
    Action,
    AlreadyDone,
    Decision,
    RefusedDecision,
    last_good,
    plan,
    read,
    roll_back,
)
from controlplane.domain.releases import Release, ReleaseState
from controlplane.domain.rollout import Rollout

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TOLD = {"action": "roll_back", "release": None, "why": "It answers nonsense.", "by": "arn:aws:iam::1:user/ada"}


def release(number: int, state: str = "RETIRED", **more: Any) -> Release:
    """It served, unless told otherwise; the higher its number, the later it stopped."""
    told = Release(number, "push", f"sha256:{number}", f"m{number}", deployment=f"d{number}", reason="because")
    return replace(replace(told, **more), state=ReleaseState(state), since=NOON + timedelta(minutes=number))


def back(number: int | None = None) -> Decision:
    return Decision("1", Action.ROLL_BACK, number, "why", "ada")


def free(number: int | None = None) -> Decision:
    return Decision("1", Action.RELEASE, number, "why", "ada")


def serving(release: Release, **more: Any) -> Rollout:
    return Rollout(count=9, serving=release, image=release.image, model=release.model, **more)


THREE = release(3, "SERVING")
HISTORY = [release(1), release(2), THREE]


class TestWhatIsTold:
    def test_is_read(self) -> None:
        decision = read(TOLD, "request-1")
        assert decision == Decision(
            "request-1", Action.ROLL_BACK, None, "It answers nonsense.", "arn:aws:iam::1:user/ada"
        )
        assert (decision.cause, decision.reason) == (
            "decision request-1",
            "arn:aws:iam::1:user/ada: It answers nonsense.",
        )

    def test_an_id_of_its_own_goes_before_the_requests(self) -> None:
        assert read({**TOLD, "id": "mine"}, "request-1").decision_id == "mine"

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"action": "delete"}, "action must be one of roll_back, release"),
            ({"action": None}, "action must be one of"),
            ({"release": 0}, "release must be the number"),
            ({"release": "3"}, "release must be the number"),
            ({"release": True}, "release must be the number"),
            ({"why": ""}, "why must say why"),
            ({"why": "x" * 501}, "why must say why"),
            ({"why": "two\nlines"}, "why must say why"),
            ({"why": 3}, "why must say why"),
            ({"by": None}, "by must say who"),
            ({"by": "x" * 257}, "by must say who"),
            ({"id": "no spaces"}, "id must be letters"),
            ({"id": 7}, "id must be letters"),
            ({"dry_run": "yes"}, "dry_run must be true or false"),
        ],
    )
    def test_what_is_wrong_is_said(self, wrong: dict[str, Any], said: str) -> None:
        with pytest.raises(RefusedDecision, match=f"Nothing was done: {said}"):
            read({**TOLD, **wrong}, "request-1")

    def test_all_that_is_wrong_is_said_together(self) -> None:
        with pytest.raises(RefusedDecision) as why:
            read({}, "request-1")
        assert all(word in str(why.value) for word in ("action", "why", "by"))

    @pytest.mark.parametrize("told", [None, [], "roll back", 3])
    def test_anything_else_is_no_decision(self, told: object) -> None:
        with pytest.raises(RefusedDecision, match="JSON object"):
            read(told, "request-1")


class TestTheLastGoodRelease:
    def test_is_what_served_before(self) -> None:
        assert last_good(serving(THREE), HISTORY) == HISTORY[1]

    def test_is_not_one_that_was_taken_back(self) -> None:
        four = release(4, "SERVING", image="sha256:2", model="m2", takes_back=3)
        history = [release(1), release(2), release(3), four]
        assert last_good(serving(four), history) == history[0]

    def test_is_not_one_that_never_served_or_failed(self) -> None:
        history = [release(1), release(2, "FAILED"), release(4, deployment=None), release(5, "ROLLED_BACK"), THREE]
        assert last_good(serving(THREE), history) == history[0]

    def test_is_not_the_same_image_and_model_under_another_number(self) -> None:
        history = [release(1), release(2, image="sha256:3", model="m3"), THREE]
        assert last_good(serving(THREE), history) == history[0]

    def test_is_not_one_without_a_model_when_one_serves(self) -> None:
        assert last_good(serving(THREE), [release(1), release(2, model=None), THREE]) == release(1)

    def test_is_what_served_last_even_if_its_number_is_lower(self) -> None:
        """One that was held for long."""
        late = replace(release(1), since=NOON + timedelta(hours=1))
        assert last_good(serving(THREE), [late, release(2), THREE]) == late


class TestRollingBackAgain:
    BACK = release(4, "ROLLING", image="sha256:2", model="m2", takes_back=3, reason="ada: nonsense")
    LATER = NOON + timedelta(minutes=4, seconds=20)

    def answered(self, rollout: Rollout, number: int | None = None, now: datetime = LATER) -> str:
        known = [release for release in (rollout.rolling, rollout.waiting) if release]
        with pytest.raises(AlreadyDone) as told:
            plan(back(number), rollout, [*HISTORY, *known], now)
        return str(told.value)

    @pytest.mark.parametrize("number", [None, 2])
    def test_while_it_rolls_is_on_its_way(self, number: int | None) -> None:
        said = self.answered(serving(THREE, rolling=self.BACK), number)
        assert said == ("Already on its way: release 4 takes release 3 back (ada: nonsense). Nothing was done again.")

    def test_while_it_waits_is_on_its_way(self) -> None:
        waiting = replace(self.BACK, number=5, state=ReleaseState.PENDING)
        said = self.answered(serving(THREE, going_back=THREE, waiting=waiting))
        assert "release 5 takes release 3 back (ada: nonsense) when release 3 has come back." in said

    def test_says_what_rolls_after_it(self) -> None:
        said = self.answered(serving(THREE, rolling=self.BACK, waiting=release(5, "PENDING")))
        assert said.endswith("Release 5 waits, and rolls after it.")

    def test_while_what_served_goes_out_again_is_on_its_way(self) -> None:
        again = replace(THREE, cause="back from release 4", reason="the smoke test: it disagrees")
        said = self.answered(serving(THREE, going_back=again))
        assert "release 3 goes out again (the smoke test: it disagrees)" in said

    @pytest.mark.parametrize("number", [None, 2])
    def test_right_after_it_served_is_done(self, number: int | None) -> None:
        served = replace(self.BACK, state=ReleaseState.SERVING)
        said = self.answered(serving(served), number, now=NOON + timedelta(minutes=4) + JUST)
        assert "Already done: release 4 takes release 3 back (ada: nonsense), and serves since 12:04:00 UTC." in said
        assert "name a release" in said

    def test_right_after_what_served_came_back_is_done(self) -> None:
        said = self.answered(serving(THREE, back_at=NOON + timedelta(minutes=4)))
        assert "release 3 serves again since 12:04:00 UTC" in said

    def test_after_what_served_could_not_come_back_goes_further_back(self) -> None:
        lost = serving(THREE, back_at=NOON + timedelta(minutes=4), lost_ways=1)
        assert plan(back(), lost, HISTORY, self.LATER).release == HISTORY[1]

    def test_later_goes_further_back_and_not_to_what_was_taken_back(self) -> None:
        served = replace(self.BACK, state=ReleaseState.SERVING)
        retired = replace(THREE, state=ReleaseState.RETIRED)
        after = NOON + timedelta(minutes=4, seconds=1) + JUST
        chosen = plan(back(), serving(served), [release(1), release(2), retired, served], after)
        assert (chosen.release.number, chosen.takes_back) == (1, 4)

    def test_to_what_serves_takes_the_rollback_itself_back(self) -> None:
        chosen = plan(back(3), serving(THREE, rolling=self.BACK), HISTORY, self.LATER)
        assert (chosen.release, chosen.takes_back, chosen.by_the_fall) == (THREE, 4, True)

    def test_to_another_end_waits_for_the_rollback_that_rolls(self) -> None:
        """To stop that would bring back first what it takes back."""
        rollout = serving(THREE, rolling=self.BACK)
        chosen = plan(back(1), rollout, HISTORY, self.LATER)
        assert (chosen.release, chosen.takes_back, chosen.stops) == (HISTORY[0], 4, False)
        assert chosen.sentence == (
            "goes back from release 4 to image sha256:1 and model m1 of release 1 when release 4 serves"
        )
        after, [proposed] = roll_back(back(1), chosen, rollout, self.LATER)
        assert (after.rolling, after.waiting) == (self.BACK, proposed)
        assert "takes release 4 back (ada: why) when release 4 serves" in self.answered(after, 1)

    def test_to_another_end_is_done_while_what_served_goes_out_again(self) -> None:
        assert plan(back(1), serving(THREE, going_back=THREE), HISTORY, self.LATER).release == HISTORY[0]

    def test_after_another_release_served_goes_back_from_that(self) -> None:
        five = release(5, "SERVING")
        before = replace(self.BACK, state=ReleaseState.RETIRED)
        assert plan(back(), serving(five), [*HISTORY, before], self.LATER).release == before


class TestRollingBack:
    def test_goes_to_the_last_good_one(self) -> None:
        chosen = plan(back(), serving(THREE), HISTORY, NOON)
        assert (chosen.release, chosen.takes_back) == (HISTORY[1], 3)
        assert chosen.sentence == "goes back from release 3 to image sha256:2 and model m2 of release 2"

    def test_goes_to_the_one_that_is_named(self) -> None:
        assert plan(back(1), serving(THREE), HISTORY, NOON).release == HISTORY[0]

    @pytest.mark.parametrize(
        ("number", "said"),
        [
            (8, "There is no release 8"),
            (3, "Release 3 serves already"),
            (4, "Release 4 never served: it is FAILED"),
            (5, "Release 5 never served: it is RETIRED"),
            (6, "Release 6 never served: it is HELD"),
            (7, "Release 7 had no model"),
        ],
    )
    def test_to_what_cannot_be_is_refused_with_the_reason(self, number: int, said: str) -> None:
        others = [
            release(4, "FAILED"),
            release(5, deployment=None),
            release(6, "HELD", deployment=None),
            release(7, model=None),
        ]
        with pytest.raises(RefusedDecision, match=said):
            plan(back(number), serving(THREE), [*HISTORY, *others], NOON)

    def test_to_the_same_image_and_model_is_refused(self) -> None:
        twin = release(2, image="sha256:3", model="m3")
        with pytest.raises(RefusedDecision, match="serve already, as release 3"):
            plan(back(2), serving(THREE), [twin, THREE], NOON)

    def test_when_no_release_serves_is_refused(self) -> None:
        with pytest.raises(RefusedDecision, match="No release serves"):
            plan(back(), Rollout(), [], NOON)

    def test_from_the_first_release_is_refused(self) -> None:
        with pytest.raises(RefusedDecision, match="no earlier release"):
            plan(back(), serving(THREE), [THREE], NOON)


class TestLettingGo:
    HELD = release(4, "HELD", deployment=None, model=None)
    REFUSED = release(5, "FAILED", deployment=None, refused_by_scan=True)

    @pytest.mark.parametrize("number", [None, 4])
    def test_the_held_one(self, number: int | None) -> None:
        chosen = plan(free(number), serving(THREE, held=self.HELD), [*HISTORY, self.HELD], NOON)
        assert (chosen.release, chosen.sentence) == (self.HELD, "release 4 is let go: image sha256:4")

    def test_one_that_its_scan_refused(self) -> None:
        chosen = plan(free(5), serving(THREE), [*HISTORY, self.REFUSED], NOON)
        assert "proposed anew, although its scan refused it" in chosen.sentence

    def test_one_that_its_scan_refused_takes_the_place_of_the_held_one(self) -> None:
        chosen = plan(free(5), serving(THREE, held=self.HELD), [*HISTORY, self.REFUSED, self.HELD], NOON)
        assert chosen.sentence.endswith("; release 4, which is held, is dropped")

    @pytest.mark.parametrize(
        ("other", "said"),
        [
            (release(6, "FAILED", deployment=None), "only one that is HELD, or that its scan refused"),
            (release(6, "ROLLED_BACK"), "Release 6 is ROLLED_BACK"),
            (release(6), "Release 6 is RETIRED"),
            (release(6, "FAILED", image="sha256:3", refused_by_scan=True), "serves already, as release 3"),
        ],
    )
    def test_any_other_is_refused_with_the_reason(self, other: Release, said: str) -> None:
        with pytest.raises(RefusedDecision, match=said):
            plan(free(6), serving(THREE), [*HISTORY, other], NOON)

    def test_when_none_is_held_is_refused(self) -> None:
        with pytest.raises(RefusedDecision, match="No release is held"):
            plan(free(), serving(THREE), HISTORY, NOON)
