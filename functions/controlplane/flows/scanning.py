"""A pushed image and its scan: held until the verdict, or rolled at once and told after, as ScanPolicy says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..domain import alerts
from ..domain.holding import hold, let_go, turn_down
from ..domain.releases import Release
from ..domain.rollout import Rollout
from ..domain.scans import Ruling, ScanPolicy, Verdict, judge
from ..ports import Ledger, Record, Scans, TryAgain
from .common import Clock, on_conflict_again
from .releasing import Releasing

LAGS = timedelta(minutes=2)  # before Lambda's last retry, which comes three minutes after the event


@dataclass(frozen=True)
class Scanning:
    ledger: Ledger
    scans: Scans
    releasing: Releasing
    clock: Clock
    policy: ScanPolicy
    highest: str
    patience: timedelta
    repository: str

    def propose(self, cause: str, image: str, *, pushed_at: datetime | None = None) -> list[str]:
        """Propose the image: held first where its verdict is waited for. Held, then asked: whichever comes last, the
        verdict's event or this question, finds the release."""
        if self.policy is not ScanPolicy.WAIT:
            return self.releasing.change(
                lambda rollout, now: rollout.pushed(pushed_at).propose(cause, now, image=image)
            )
        why = "its image is held until the scan's verdict"
        done = self.releasing.change(
            lambda rollout, now: hold(rollout.pushed(pushed_at), cause, now, image=image, why=why)
        )
        return [*done, *self.look_at_held()]

    def told(self, image: str, over_at: datetime) -> list[str]:
        """An event says that the image's scan is over. Raises TryAgain while ECR's answer lags a little behind it.

        What lags for longer is no fault, and waits for the next look: Lambda asks twice more, in three minutes.
        docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
        """
        rollout = self.ledger.rollout()
        if rollout.held and rollout.held.image == image:
            done = self.look_at_held()
            held = self.ledger.rollout().held
            if held and held.image == image and self._verdict(image).ruling is Ruling.OPEN:
                lags = f"the scan of {image} is over, but ECR does not show it yet"
                if self.clock() - over_at < LAGS:
                    raise TryAgain(lags)
                return [*done, f"{lags}: the next look asks again"]
            return done
        return on_conflict_again(lambda: self._report(image))

    def look(self) -> list[str]:
        """What an event missed: a verdict, one that does not come, and what was found in the image that serves."""
        done = self.look_at_held()
        rollout, now = self.ledger.rollout(), self.clock()
        held = rollout.held
        if held and held.since and now - held.since > self.patience:
            minutes = round(self.patience.total_seconds() / 60)
            self._no_verdict(held, rollout, f"No verdict came within {minutes} minutes.")
        image = rollout.serving.image if rollout.serving else None
        if image:
            done += on_conflict_again(lambda: self._report(image))
        return done

    def look_at_held(self) -> list[str]:
        """Ask ECR for the verdict on the held image, and act on it."""
        rollout = self.ledger.rollout()
        held = rollout.held
        if held is None or held.image is None:
            return []
        if self.policy is not ScanPolicy.WAIT:
            return self._let_go(held, f"ScanPolicy is {self.policy} now")
        verdict = self._verdict(held.image)
        match verdict.ruling:
            case Ruling.PASSED:
                return self._let_go(held, verdict.why)
            case Ruling.REFUSED:
                return self.releasing.change(
                    lambda known, now: turn_down(known, held.number, now, why=verdict.why, names=verdict.names),
                    lambda release, known: [alerts.scan_refused(release, known.serving, self.repository)],
                )
            case Ruling.NO_VERDICT:
                self._no_verdict(held, rollout, verdict.why)
                return [f"release {held.number} HELD: {verdict.why}"]
            case Ruling.OPEN:
                return []

    def _let_go(self, held: Release, why: str) -> list[str]:
        return self.releasing.change(lambda rollout, now: let_go(rollout, held.number, now, why=why))

    def _no_verdict(self, held: Release, rollout: Rollout, why: str) -> None:
        record = Record(self.clock(), f"release {held.number}", held.state, held.state, why)
        alert = alerts.scan_without_verdict(held, rollout.serving, why, self.repository)
        if not self.ledger.is_noted(alert.alert_id):
            self.ledger.note([alert], record)

    def _report(self, image: str) -> list[str]:
        """Of an image that is deployed, or about to be: each finding once. What a person let it go with is known."""
        rollout = self.ledger.rollout()
        deployed = [
            each for each in (rollout.serving, rollout.rolling, rollout.waiting) if each and each.image == image
        ]
        if self.policy is ScanPolicy.OFF or not deployed:
            return []
        verdict = self._verdict(image)
        if verdict.ruling is Ruling.NO_VERDICT:
            return self._report_failed(deployed, verdict.why)
        known = rollout.known_in(image)
        new = [name for name in verdict.names if name not in (known or ())]
        if not new:
            return []
        record = Record(self.clock(), f"image {image}", "", "FINDINGS", verdict.why)
        told = [alerts.scan_found(deployed[0], verdict, new, self.repository)]
        self.ledger.save_rollout(rollout.knowing_in(image, new), [], [record], told)
        return [f"image {image}: {verdict.why}"]

    def _report_failed(self, deployed: Sequence[Release], why: str) -> list[str]:
        """Once an image; what waited for its verdict is told of while it is held."""
        alert = alerts.scan_failed(deployed[0], why, self.repository)
        known = self.policy is not ScanPolicy.REPORT or any(each.overridden for each in deployed)
        if known or self.ledger.is_noted(alert.alert_id):
            return []
        self.ledger.note([alert], Record(self.clock(), f"image {deployed[0].image}", "", "NO_VERDICT", why))
        return [f"image {deployed[0].image}: {why}"]

    def _verdict(self, image: str) -> Verdict:
        return judge(self.scans.scan(image), self.highest)
