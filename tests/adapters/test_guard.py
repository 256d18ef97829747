"""The guard of a machine: one schedule, set once, that ends it without us. In memory and on EventBridge Scheduler."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta, timezone
from typing import Any

import pytest
from controlplane.adapters.aws_account import AwsAccount
from controlplane.adapters.scheduler_guard import SchedulerGuard
from controlplane.domain.account import Preconditions, Quota
from controlplane.ports import Guard

from tests.flows.fakes import NOON, FakeGuard

Clients = Callable[[str], Any]
ROLE = "arn:aws:iam::123456789012:role/guard"
STANDARD = Quota("Standard", "spot")


class OnAws:
    """The guard, and what EventBridge Scheduler holds."""

    def __init__(self, scheduler: Any) -> None:
        scheduler.create_schedule_group(Name="machines")
        self._scheduler = scheduler
        self.guard = SchedulerGuard(scheduler, group="machines", role_arn=ROLE)

    @property
    def times(self) -> dict[str, str]:
        listed = self._scheduler.list_schedules(GroupName="machines")["Schedules"]
        return {told["Name"].removeprefix("end-"): self.schedule(told["Name"])["ScheduleExpression"] for told in listed}

    def schedule(self, name: str) -> Any:
        return self._scheduler.get_schedule(Name=name, GroupName="machines")


class InMemory:
    def __init__(self) -> None:
        self.guard = FakeGuard()

    @property
    def times(self) -> dict[str, str]:
        return {name: f"at({at:%Y-%m-%dT%H:%M:%S})" for name, at in self.guard.schedules.items()}


@pytest.fixture(params=["fake", "scheduler"])
def place(request: pytest.FixtureRequest) -> InMemory | OnAws:
    return InMemory() if request.param == "fake" else OnAws(request.getfixturevalue("aws")("scheduler"))


def test_every_machine_has_one_time_and_the_first_stays(place: InMemory | OnAws) -> None:
    guard: Guard = place.guard
    guard.set("i-1", NOON)
    guard.set("i-2", NOON + timedelta(hours=1))
    guard.set("i-1", NOON + timedelta(hours=5))
    assert place.times == {"i-1": "at(2026-01-01T12:00:00)", "i-2": "at(2026-01-01T13:00:00)"}


def test_the_schedule_ends_the_machine_by_itself_once_and_goes(aws: Clients) -> None:
    place = OnAws(aws("scheduler"))
    place.guard.set("i-1", NOON.astimezone(timezone(timedelta(hours=2))))
    told = place.schedule("end-i-1")
    assert told["Target"]["Arn"] == "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances"
    assert json.loads(told["Target"]["Input"]) == {"InstanceIds": ["i-1"]}
    assert told["Target"]["RoleArn"] == ROLE
    assert (told["ScheduleExpression"], told["ScheduleExpressionTimezone"]) == ("at(2026-01-01T12:00:00)", "UTC")
    assert (told["ActionAfterCompletion"], told["FlexibleTimeWindow"]["Mode"]) == ("DELETE", "OFF")


class TestTheAccount:
    def test_without_the_role_it_says_so(self, aws: Clients) -> None:
        told = AwsAccount(aws("iam"), aws("service-quotas")).preconditions(STANDARD)
        assert told.has_spot_role is False

    def test_with_the_role_and_a_quota_it_tells_both(self, stubbed: Callable[[str], Any]) -> None:
        iam, stub = stubbed("iam")
        role = {
            "Path": "/",
            "RoleName": "AWSServiceRoleForEC2Spot",
            "RoleId": "AROA1234567890123456",
            "Arn": "arn:aws:iam::1:role/AWSServiceRoleForEC2Spot",
            "CreateDate": NOON,
        }
        stub.add_response("get_role", {"Role": role}, {"RoleName": "AWSServiceRoleForEC2Spot"})
        quotas, stub = stubbed("service-quotas")
        asked = {"ServiceCode": "ec2", "QuotaCode": "L-34B43A08"}
        stub.add_response("get_service_quota", {"Quota": {"Value": 5.0}}, asked)
        assert AwsAccount(iam, quotas).preconditions(STANDARD) == Preconditions(True, STANDARD, 5.0)

    def test_what_it_does_not_tell_is_none(self, stubbed: Callable[[str], Any]) -> None:
        iam, stub = stubbed("iam")
        stub.add_client_error("get_role", "AccessDenied", "no")
        quotas, stub = stubbed("service-quotas")
        stub.add_client_error("get_service_quota", "NoSuchResourceException", "no")
        assert AwsAccount(iam, quotas).preconditions(STANDARD) == Preconditions(None, STANDARD, None)
