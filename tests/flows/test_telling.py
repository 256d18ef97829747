"""People are told, whatever else is wrong."""

from __future__ import annotations

import pytest
from controlplane.domain.alerts import Alert
from controlplane.flows.common import tell_people
from controlplane.ports import Record

from tests.flows.fakes import FakeNotifier
from tests.flows.world import World


class Refusing(FakeNotifier):
    """Takes no alert about a certain thing."""

    def tell(self, alert: Alert) -> None:
        if alert.alert_id == "bad":
            raise ValueError("refused")
        super().tell(alert)


def test_an_alert_that_cannot_be_sent_does_not_keep_the_others_back() -> None:
    world, notifier = World(), Refusing()
    made = [Alert(name, f"about {name}", "body") for name in ("bad", "good")]
    world.ledger.note(made, Record(world.clock(), "x", "", "", ""))
    with pytest.raises(ExceptionGroup, match="1 alerts could not be sent"):
        tell_people(world.ledger, notifier, world.clock)
    assert [alert.alert_id for alert in world.ledger.unsent()] == ["bad"]


def test_a_part_of_the_look_that_fails_keeps_nobody_from_being_told() -> None:
    world = World()
    world.push("v1")
    world.on_deployment_changed(world.service.completes())
    world.push("v2")
    world.service.completes()
    world.scans.silent = True
    with pytest.raises(ExceptionGroup):
        world.on_reconcile_due()
    assert world.subjects == ["Tidegate: release 1 serves", "Tidegate: release 2 serves"]
