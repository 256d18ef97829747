"""A pushed image and its scan: held until the verdict, told of, let go, refused; in whatever order it is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from controlplane.domain.images import Push
from controlplane.domain.scans import Scan, ScanPolicy, ScanState, Vulnerability
from controlplane.ports import TryAgain

from tests.flows import wired
from tests.flows.fakes import CLEAN, FOUND, PENDING, child_digest
from tests.flows.world import World

FAILED = Scan(ScanState.NONE, "UNSUPPORTED_IMAGE")


def waiting_world() -> World:
    """Release 1 serves; the scan of anything new takes its time."""
    world = World()
    world.push("v1")
    world.on_deployment_changed(world.service.completes())
    world.scans.otherwise = PENDING
    return world


def serving(world: World) -> str | None:
    release = world.ledger.rollout().serving
    return release.image if release else None


def states(world: World) -> list[str]:
    return [world.ledger.releases[number].state.value for number in sorted(world.ledger.releases)]


def held(world: World) -> Push:
    push = world.push("v2")
    assert states(world)[1:] == ["HELD"]
    return push


class TestWaiting:
    def test_a_push_is_held_and_rolls_when_its_scan_lets_it(self) -> None:
        world = waiting_world()
        push, made = held(world), world.service.made
        assert world.service.made == made
        world.on_image_scanned(push.digest, CLEAN)
        world.on_deployment_changed(world.service.completes())
        assert serving(world) == push.digest
        story = [(line.was, line.now) for line in world.ledger.history if line.subject == "release 2"]
        assert story[:3] == [("", "HELD"), ("HELD", "PENDING"), ("PENDING", "ROLLING")]

    def test_a_verdict_that_came_before_the_push_was_told_is_found(self) -> None:
        world = waiting_world()
        push = world.push("v2", told=False)
        world.on_image_scanned(push.digest, CLEAN)
        world.on_image_pushed(push)
        rolling = world.ledger.rollout().rolling
        assert rolling and rolling.image == push.digest

    def test_findings_above_the_severity_refuse_it_with_their_names(self) -> None:
        world = waiting_world()
        good, push, made = serving(world), held(world), world.service.made
        world.on_image_scanned(push.digest, FOUND)
        assert (world.service.made, serving(world), states(world)) == (made, good, ["SERVING", "FAILED"])
        mail = world.notifier.mails[-1]
        assert mail.subject == "Tidegate: release 2 refused by its scan"
        assert "The scan found 1 above HIGH: CVE-1 (CRITICAL, zlib 1.2)." in mail.body
        assert "make release-held N=2" in mail.body

    def test_findings_up_to_the_severity_let_it_go(self) -> None:
        world = waiting_world()
        push = held(world)
        high = Scan(ScanState.COMPLETE, found=(Vulnerability("CVE-2", "HIGH", "tar"),), counts={"HIGH": 1})
        world.on_image_scanned(push.digest, high)
        assert world.ledger.rollout().rolling

    def test_the_same_verdict_five_times_is_acted_on_once(self) -> None:
        world = waiting_world()
        push = held(world)
        for _ in range(5):
            world.on_image_scanned(push.digest, FOUND)
        assert world.subjects.count("Tidegate: release 2 refused by its scan") == 1
        assert len(world.ledger.releases) == 2

    def test_while_ecr_lags_behind_its_own_event_the_event_comes_again(self) -> None:
        world = waiting_world()
        push = held(world)
        with pytest.raises(TryAgain):
            world.on_image_scanned(push.digest)

    def test_what_lags_for_longer_waits_for_the_next_look_and_is_no_fault(self) -> None:
        world = waiting_world()
        push, over_at = held(world), world.clock()
        world.clock.forward(minutes=3)
        told = wired.scanning(world).told(push.digest, over_at)
        assert told == [f"the scan of {push.digest} is over, but ECR does not show it yet: the next look asks again"]
        world.scans.scans[push.digest] = CLEAN
        world.on_reconcile_due()
        assert states(world)[1:] == ["ROLLING"]

    def test_the_scan_of_another_image_changes_nothing(self) -> None:
        world = waiting_world()
        held(world)
        world.on_image_scanned("sha256:another", FOUND)
        assert states(world)[1:] == ["HELD"]

    def test_of_an_index_the_scan_of_the_services_own_image_counts(self) -> None:
        world = waiting_world()
        push = world.push("v2", index=["arm64", "amd64"])
        world.on_image_scanned(child_digest(push, "arm64"), FOUND)
        world.on_image_scanned(push.digest, FOUND)
        assert states(world)[1:] == ["HELD"]
        world.on_image_scanned(child_digest(push, "amd64"), CLEAN)
        assert states(world)[1:] == ["ROLLING"]

    def test_a_model_is_not_held_up(self) -> None:
        world = waiting_world()
        push = held(world)
        run = world.promoted()
        world.on_deployment_changed(world.service.completes())
        release = world.ledger.rollout().serving
        assert release and release.model == run.run_id and release.image != push.digest
        world.on_image_scanned(push.digest, CLEAN)
        world.on_deployment_changed(world.service.completes())
        release = world.ledger.rollout().serving
        assert release and (release.image, release.model) == (push.digest, run.run_id)

    def test_a_newer_push_takes_the_place_of_the_held_one(self) -> None:
        world = waiting_world()
        first = held(world)
        second = world.push("v3")
        world.on_image_scanned(first.digest, CLEAN)
        assert states(world)[1:] == ["RETIRED", "HELD"]
        world.on_image_scanned(second.digest, CLEAN)
        assert states(world)[1:] == ["RETIRED", "ROLLING"]

    def test_a_refused_image_under_a_new_tag_is_scanned_and_refused_again(self) -> None:
        world = waiting_world()
        push = held(world)
        world.on_image_scanned(push.digest, FOUND)
        world.push("v2-again", of=push)
        assert states(world)[1:] == ["FAILED", "FAILED"]
        assert [mail for mail in world.subjects if "by its scan" in mail] == [
            "Tidegate: release 2 refused by its scan",
            "Tidegate: release 3 refused by its scan",
        ]


class TestNoVerdict:
    def test_a_scan_that_failed_is_told_once_and_the_image_stays_held(self) -> None:
        world = waiting_world()
        push = held(world)
        for _ in range(3):
            world.on_image_scanned(push.digest, FAILED)
        world.on_reconcile_due()
        assert states(world)[1:] == ["HELD"]
        assert world.subjects[1:] == ["Tidegate: release 2 is held, its scan has no verdict"]
        assert "UNSUPPORTED_IMAGE" in world.notifier.mails[-1].body

    def test_a_later_verdict_still_counts(self) -> None:
        world = waiting_world()
        push = held(world)
        world.on_image_scanned(push.digest, FAILED)
        world.on_image_scanned(push.digest, CLEAN)
        assert states(world)[1:] == ["ROLLING"]

    def test_a_verdict_that_never_comes_is_told_once(self) -> None:
        world = waiting_world()
        held(world)
        for _ in range(5):
            world.clock.forward(minutes=5)
            world.on_reconcile_due()
            late = world.subjects.count("Tidegate: release 2 is held, its scan has no verdict")
            assert late == (
                1 if world.clock.now > (world.ledger.releases[2].since or world.clock.now) + fifteen() else 0
            )
        assert "No verdict came within 15 minutes." in world.notifier.mails[-1].body

    def test_a_verdict_whose_event_never_came_is_found_at_the_next_look(self) -> None:
        world = waiting_world()
        push = held(world)
        world.scans.scans[push.digest] = CLEAN
        world.on_reconcile_due()
        assert states(world)[1:] == ["ROLLING"]

    def test_while_ecr_does_not_answer_the_image_stays_held(self) -> None:
        world = waiting_world()
        world.scans.silent = True
        with pytest.raises(TryAgain):
            world.push("v2")
        assert states(world)[1:] == ["HELD"]
        world.scans.silent, world.scans.otherwise = False, CLEAN
        world.on_image_pushed(world.images.pushes[0])
        assert states(world)[1:] == ["ROLLING"]


def fifteen() -> timedelta:
    return timedelta(minutes=15)


class TestReporting:
    def test_a_push_rolls_at_once_and_findings_are_told_after_once(self) -> None:
        world = waiting_world()
        world.scan_policy = ScanPolicy.REPORT
        push = world.push("v2")
        assert states(world)[1:] == ["ROLLING"]
        world.on_image_scanned(push.digest, FOUND)
        world.on_deployment_changed(world.service.completes())
        world.on_image_scanned(push.digest)
        world.on_reconcile_due()
        assert serving(world) == push.digest
        assert [subject for subject in world.subjects if "found" in subject] == [
            "Tidegate: the scan of release 2's image found CRITICAL"
        ]
        assert "CVE-1 (CRITICAL, zlib 1.2)" in next(m.body for m in world.notifier.mails if "found" in m.subject)

    def test_findings_whose_event_never_came_are_told_at_the_next_look(self) -> None:
        world = waiting_world()
        world.scan_policy = ScanPolicy.REPORT
        push = world.push("v2")
        world.on_deployment_changed(world.service.completes())
        world.scans.scans[push.digest] = FOUND
        world.on_reconcile_due()
        assert "Tidegate: the scan of release 2's image found CRITICAL" in world.subjects

    def test_a_scan_that_failed_is_told_once_and_what_a_later_one_finds_too(self) -> None:
        world = waiting_world()
        world.scan_policy = ScanPolicy.REPORT
        push = world.push("v2")
        world.on_image_scanned(push.digest, Scan(ScanState.NONE, "UNSUPPORTED_IMAGE"))
        world.on_image_scanned(push.digest)
        world.on_deployment_changed(world.service.completes())
        world.on_reconcile_due()
        [mail] = [mail for mail in world.notifier.mails if "scan" in mail.subject]
        assert mail.subject == "Tidegate: the scan of release 2's image failed"
        assert "The scan gave no verdict: UNSUPPORTED_IMAGE." in mail.body
        assert (states(world)[1:], serving(world)) == (["SERVING"], push.digest)
        world.on_image_scanned(push.digest, FOUND)
        assert world.subjects[-1] == "Tidegate: the scan of release 2's image found CRITICAL"

    def test_worse_that_becomes_known_of_what_serves_is_told_again(self) -> None:
        world = waiting_world()
        image = serving(world)
        assert image
        bad = Scan(ScanState.COMPLETE, found=(Vulnerability("CVE-2", "HIGH", "tar"),))
        scanning = replace(wired.scanning(world), highest="LOW")
        for known in (bad, bad, FOUND):
            world.scans.scans[image] = known
            scanning.look()
        told = [alert for alert_id, alert in world.ledger.noted.items() if alert_id.startswith(f"findings {image}")]
        assert [alert.subject.rpartition(" ")[2] for alert in told] == ["HIGH", "CRITICAL"]

    def test_another_finding_of_the_same_severity_is_told_and_none_twice(self) -> None:
        world = waiting_world()
        image = serving(world)
        assert image
        first, second = Vulnerability("CVE-1", "CRITICAL", "zlib"), Vulnerability("CVE-2", "CRITICAL", "tar")
        for found in ((first,), (first, second), (second,), (first, second)):
            world.on_image_scanned(image, Scan(ScanState.COMPLETE, found=found))
            world.on_reconcile_due()
        told = [mail.body for mail in world.notifier.mails if "found CRITICAL" in mail.subject]
        assert len(told) == 2 and "New: CVE-2." in told[1]

    def test_what_is_found_after_a_person_let_it_go_is_told(self) -> None:
        world = waiting_world()
        push = held(world)
        world.on_image_scanned(push.digest, FOUND)
        world.on_person_decided({"action": "release", "release": 2, "why": "urgent", "by": "ada", "id": "d1"})
        world.on_deployment_changed(world.service.completes())
        world.on_reconcile_due()
        assert not [subject for subject in world.subjects if "found CRITICAL" in subject], "ada knows of that"
        more = (*FOUND.found, Vulnerability("CVE-9", "CRITICAL", "tar"))
        world.on_image_scanned(push.digest, Scan(ScanState.COMPLETE, found=more))
        assert "New: CVE-9." in world.notifier.mails[-1].body


class TestOff:
    def test_a_push_rolls_at_once_and_nobody_asks(self) -> None:
        world = waiting_world()
        world.scan_policy, world.scans.silent = ScanPolicy.OFF, True
        push = world.push("v2")
        world.on_image_scanned(push.digest)
        world.on_reconcile_due()
        assert states(world)[1:] == ["ROLLING"]

    @pytest.mark.parametrize("policy", [ScanPolicy.OFF, ScanPolicy.REPORT])
    def test_what_was_held_goes_on_when_the_policy_changes(self, policy: ScanPolicy) -> None:
        world = waiting_world()
        held(world)
        world.scan_policy = policy
        world.on_reconcile_due()
        assert states(world)[1:] == ["ROLLING"]
