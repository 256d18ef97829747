"""Images, releases and alerts in the ledger: one contract, for the one in memory and for the one on DynamoDB."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from controlplane.domain.alarms import Answer
from controlplane.domain.releases import Release
from controlplane.domain.rollout import Rollout
from controlplane.ports import Conflict, Ledger

from tests.adapters.ledgers import ALERT, CHANGED
from tests.flows.fakes import NOON


class TestTheRollout:
    def test_it_comes_back_as_it_was_saved(self, ledger: Ledger) -> None:
        rollout, changed = Rollout().propose("push sha256:1 v1", NOON, image="sha256:1", model="m")
        saved = ledger.save_rollout(rollout, changed, [CHANGED])
        assert saved == replace(rollout, version=1)
        started, release = saved.start(NOON)
        assert release
        ledger.save_rollout(started.deploying("ecs-svc/1"), [release], [CHANGED], [ALERT])
        assert ledger.rollout() == replace(started.deploying("ecs-svc/1"), version=2)
        assert list(ledger.unsent()) == [ALERT]

    def test_one_that_moved_meanwhile_is_a_conflict(self, ledger: Ledger) -> None:
        first = ledger.rollout()
        ledger.save_rollout(first, [], [])
        with pytest.raises(Conflict):
            ledger.save_rollout(first, [Release(1, "c", None, None)], [], [ALERT])
        assert list(ledger.unsent()) == []


def test_every_release_is_known_by_number_as_it_was_stored_last(ledger: Ledger) -> None:
    assert ledger.all_releases() == []
    several = [replace(Release(number, f"c{number}", "sha256:1", None), takes_back=1) for number in (10, 9, 2)]
    saved = ledger.save_rollout(Rollout(), several, [CHANGED])
    failed = replace(several[0], reason="it broke", refused_by_scan=True, overridden=True)
    ledger.save_rollout(saved, [failed], [CHANGED])
    assert ledger.all_releases() == [several[2], several[1], failed]


def test_what_lay_in_the_repository_is_kept_for_the_next_look(ledger: Ledger) -> None:
    assert ledger.tags_seen() is None
    for seen in (frozenset({"sha256:1 v1", "sha256:1 größe"}), frozenset({"sha256:2 v2"}), frozenset[str]()):
        ledger.keep_tags_seen(seen)
        assert ledger.tags_seen() == seen


class TestAlerts:
    def test_an_alert_is_noted_once_for_ever(self, ledger: Ledger) -> None:
        ledger.note([ALERT], CHANGED)
        ledger.sent(ALERT)
        ledger.note([replace(ALERT, body="again")], CHANGED)
        assert list(ledger.unsent()) == []
        assert ledger.is_noted(ALERT.alert_id)
        assert not ledger.is_noted("another")

    def test_unsent_ones_stay_until_they_are_crossed_off(self, ledger: Ledger) -> None:
        other = replace(ALERT, alert_id="z")
        ledger.note([ALERT, other], CHANGED)
        assert sorted(alert.alert_id for alert in ledger.unsent()) == sorted([ALERT.alert_id, "z"])
        ledger.sent(ALERT)
        ledger.sent(ALERT)
        assert list(ledger.unsent()) == [other]

    def test_one_function_at_a_time_may_send_it(self, ledger: Ledger) -> None:
        ledger.note([ALERT], CHANGED)
        assert ledger.claim(ALERT, NOON)
        assert not ledger.claim(ALERT, NOON + timedelta(seconds=59))
        assert list(ledger.unsent()) == [ALERT]
        assert ledger.claim(ALERT, NOON + timedelta(seconds=62))

    def test_a_sent_one_cannot_be_claimed(self, ledger: Ledger) -> None:
        ledger.note([ALERT], CHANGED)
        ledger.sent(ALERT)
        assert not ledger.claim(ALERT, NOON)
        assert list(ledger.unsent()) == []

    def test_the_first_answer_to_an_incident_stays(self, ledger: Ledger) -> None:
        first = Answer("Going back.", "Look.", roll_back_to=Release(1, "push v1", "sha256:1", "m", since=NOON))
        assert ledger.decided("alarm x", first) == first
        assert ledger.decided("alarm x", Answer("Nothing.", "Look.")) == first
        assert ledger.decided("alarm y", Answer("Nothing.", "Look.", scale_to=3)).scale_to == 3
