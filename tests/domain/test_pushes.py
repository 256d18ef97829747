"""Which push was missed: what lies in the repository now, at the last look, and in the ledger."""

from __future__ import annotations

from datetime import UTC, datetime

from controlplane.domain.images import Push
from controlplane.domain.pushes import missed
from controlplane.domain.rollout import Rollout

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pushed(number: int, tag: str = "") -> Push:
    return Push("r", f"sha256:{number:064}", tag or f"v{number}")


def ledger(*pushes: Push) -> Rollout:
    rollout = Rollout()
    for push in pushes:
        rollout = rollout.propose(push.cause, NOON, image=push.digest)[0]
    return rollout


def seen(*pushes: Push) -> frozenset[str]:
    return frozenset(f"{push.digest} {push.tag}" for push in pushes)


V1, V2, V3 = pushed(1), pushed(2), pushed(3)


def test_a_fresh_image_whose_event_never_came_is_missed() -> None:
    assert missed([V2, V1], ledger(V1), seen(V1)) == [V2]


def test_of_several_the_newest_comes_first() -> None:
    assert missed([V3, V2, V1], ledger(V1), seen(V1)) == [V3, V2]


def test_one_that_a_newer_push_overtook_is_left() -> None:
    assert missed([V3, V2, V1], ledger(V1, V3), seen(V1)) == []


def test_what_was_left_once_is_left_for_good() -> None:
    assert missed([V3, V2, V1], ledger(V1, V3), seen(V1, V2, V3)) == []


def test_an_old_image_under_a_new_tag_is_a_push() -> None:
    again = pushed(1, "v1-again")
    assert missed([V2, V1, again], ledger(V1, V2), seen(V1, V2)) == [again]
    assert missed([V2, V1, again], ledger(V1, V2, again), seen(V1, V2)) == []


def test_an_old_image_whose_first_tag_was_not_for_the_service_is_a_push_under_one_that_is() -> None:
    tested = pushed(1, "test-1")
    assert missed([V1], ledger(), seen(tested)) == [V1]


def test_when_it_cannot_be_known_which_came_last_the_fresh_image_counts() -> None:
    again = pushed(1, "v1-again")
    assert missed([V2, V1, again], ledger(V1), seen(V1)) == [V2]
    assert missed([V2, V1, again], ledger(V1, V2), seen(V1)) == []


def test_at_the_first_look_only_an_image_newer_than_every_known_one_is_missed() -> None:
    assert missed([V3, V2, V1], ledger(V2), None) == [V3]
    assert missed([V2, V1, pushed(1, "v1-again")], ledger(V2), None) == []
    assert missed([], ledger(), None) == []


def test_a_tag_that_moved_to_a_fresh_image_is_missed() -> None:
    moved = pushed(2, "v1")
    assert missed([moved], ledger(V1), seen(V1)) == [moved]
