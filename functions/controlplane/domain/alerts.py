"""Alerts, written for people: what happened, why, what was done, what to do. Each has an identity: told once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .alarms import AlarmChange, Answer
from .batches import Batch
from .crashes import Pattern
from .decisions import Decision, Plan
from .failures import FailedTask
from .releases import Fate, Release, ReleaseState
from .runs import Run, RunState
from .scans import Verdict

SUBJECT_LIMIT = 100


@dataclass(frozen=True)
class Alert:
    """`alert_id` is what it is about: a repeated event makes the same one. `subject` is plain ASCII, as SNS wants."""

    alert_id: str
    subject: str
    body: str

    @classmethod
    def of(cls, alert_id: str, subject: str, *, happened: str, why: str, done: str, to_do: str, look: str) -> Alert:
        printable = "".join(letter if " " <= letter <= "~" else "?" for letter in subject)
        if len(printable) >= SUBJECT_LIMIT:
            printable = printable[: SUBJECT_LIMIT - 4] + "..."
        body = "\n".join(
            (
                f"What happened: {happened}",
                f"Why: {why}",
                f"What was done: {done}",
                f"What to do: {to_do}",
                f"Where to look: {look}",
            )
        )
        return cls(alert_id=alert_id, subject=printable, body=body + "\n")


def drops_refused(batch: Batch, bucket: str) -> Alert:
    """One alert a batch, however many of its drops were refused."""
    lines = [
        f"\n  {_quoted(drop.key)}: {drop.sentence}\n    s3://{bucket}/quarantine/{drop.drop_id}/report.html"
        for drop in batch.refused
    ]
    more = batch.refused_count - len(batch.refused)
    if more:
        lines.append(f"\n  and {more} more; see s3://{bucket}/quarantine/")
    files = "1 file" if batch.refused_count == 1 else f"{batch.refused_count} files"
    return Alert.of(
        f"refused {batch.batch_id}",
        f"Tidegate: {files} refused in dataset {batch.dataset}",
        happened=f"{files} dropped into dataset {batch.dataset} cannot be trained on; {batch.accepted} accepted.",
        why="".join(lines),
        done="Each got a report in quarantine/. The files stay where they are; they are left out of training.",
        to_do="Mend them and upload them again.",
        look=f"s3://{bucket}/quarantine/",
    )


def run_ended(run: Run, *, sentence: str, cost: str, bucket: str, serves: bool, instead_to_do: str = "") -> Alert:
    """PROMOTED, REJECTED or FAILED. `instead_to_do`: where the usual advice is not the right one."""
    done, to_do = {
        RunState.PROMOTED: (
            "It is the champion now and goes into the next release."
            if serves
            else "It is the champion of its dataset. Only the champion of ServedDataset is served, as before.",
            "Nothing.",
        ),
        RunState.REJECTED: ("The champion stays. The model is kept.", "Nothing, unless you expected better."),
        RunState.FAILED: (
            "The run was ended. What serves was not touched.",
            "Mend the cause and drop the data again.",
        ),
    }[run.state]
    what = {"PROMOTED": "new champion", "REJECTED": "challenger refused", "FAILED": "run failed"}[run.state.value]
    return Alert.of(
        f"run {run.run_id} {run.state}",
        f"Tidegate: {what} in dataset {run.dataset} ({run.run_id})",
        happened=f"Run {run.run_id} of dataset {run.dataset} ended {run.state}: {cost}.",
        why=sentence,
        done=done,
        to_do=instead_to_do or to_do,
        look=f"run card s3://{bucket}/runs/{run.run_id}/card.html, logs s3://{bucket}/logs/{run.run_id}/",
    )


def budget_used_up(run: Run, why: str, month: str) -> Alert:
    """Told once a month, however many runs wait."""
    return Alert.of(
        f"budget {month}",
        f"Tidegate: the budget of {month} is used up, runs wait",
        happened=f"Run {run.run_id} of dataset {run.dataset} is not started, nor is any run after it.",
        why=why,
        done="It waits in the queue, and is looked at again every five minutes. What serves was not touched.",
        to_do="Nothing: it starts when the month turns. Or raise MonthlyBudget (0 = none) and deploy.",
        look="CloudWatch dashboard, Spend on machines",
    )


def run_waits_id(run: Run) -> str:
    return f"run {run.run_id} waits"


def run_waits(run: Run, why: str, to_do: str, again: datetime) -> Alert:
    """Told once a run, however often EC2 refuses."""
    return Alert.of(
        run_waits_id(run),
        f"Tidegate: run {run.run_id} waits for a machine",
        happened=f"No machine could be had for run {run.run_id} of dataset {run.dataset}.",
        why=why,
        done=f"EC2 is asked again at {again:%H:%M:%S} UTC, then in growing gaps of up to 15 minutes; on-demand after "
        "SpotAttempts refusals. What serves was not touched.",
        to_do=to_do,
        look="EC2 console, Spot requests and limits",
    )


def few_pools(why: str) -> Alert:
    """Told once for each number of pools."""
    return Alert.of(
        f"few pools: {why}",
        "Tidegate: few pools to take machines from",
        happened="A machine was had all the same.",
        why=why,
        done="Nothing.",
        to_do="Give more InstanceTypes (or SubnetIds in more zones) and deploy again, if machines are hard to get.",
        look="docs/operations.md, Spot",
    )


def release_refused(release: Release, serving: Release | None, service: str) -> Alert:
    """FAILED before it rolled; `serving` is what serves now."""
    return Alert.of(
        f"release {release.number} {release.state}",
        f"Tidegate: release {release.number} refused",
        happened=f"Release {release.number} ({release.cause}) is {release.state} and was not rolled out.",
        why=release.reason,
        done=f"Nothing was changed. {_now_serves(serving)}",
        to_do="Mend it, and push again under a new tag.",
        look=f"ECS service {service}",
    )


def person_decided(decision: Decision, plan: Plan, release: Release) -> Alert:
    """`release` is the one that comes of it."""
    what = "rolled back" if decision.action == "roll_back" else "let a release go"
    return Alert.of(
        decision.cause,
        f"Tidegate: a person {what} (release {release.number})",
        happened=f"{decision.by} decided: {plan.sentence}.",
        why=decision.why,
        done=f"It rolls out as release {release.number}, and is judged like any release; you are told how it ends.",
        to_do="Nothing. What was left is not tried again by itself.",
        look=f"the ledger, {decision.cause}",
    )


def release_overtaken(waited: Release, instead: Release | None, serving: Release | None, service: str) -> Alert:
    """`waited` was promised to people and does not roll; `instead` does, or what serves is the same already."""
    if instead is None and serving and (waited.image, waited.model) in _contents(serving):
        done, to_do = f"Nothing: its image and model serve already. {_now_serves(serving)}", "Nothing."
    elif instead is None:
        done = f"Nothing: what serves already was proposed after it, so that stays. {_now_serves(serving)}"
        to_do = f"If release {waited.number} is what you want, decide it again, or push it again under a new tag."
    else:
        done = f"Release {instead.number} ({instead.cause}) rolls out instead, and you are told how it ends."
        if waited.takes_back is not None and instead.takes_back == waited.takes_back:
            done += f" It has the image of release {waited.number}, and takes release {waited.takes_back} back too."
        to_do = (
            f"See whether release {instead.number} mends it; if not, roll back again."
            if waited.takes_back is not None
            else "Push it again under a new tag, if you still want it."
        )
    return Alert.of(
        f"release {waited.number} {ReleaseState.RETIRED}",
        f"Tidegate: release {waited.number} was overtaken and does not roll out",
        happened=f"Release {waited.number} waited for its turn ({waited.reason}), and was overtaken.",
        why="Of the releases that wait, only the newest rolls." if instead else "There is nothing to roll out.",
        done=done,
        to_do=to_do,
        look=f"ECS service {service}",
    )


def _contents(serving: Release) -> set[tuple[str | None, str | None]]:
    """What a proposal may say that is the same as what serves: what it leaves open is as it was."""
    return {(image, model) for image in (None, serving.image) for model in (None, serving.model)}


def scan_refused(release: Release, serving: Release | None, repository: str) -> Alert:
    """FAILED by its scan, before it rolled."""
    return Alert.of(
        f"release {release.number} {release.state}",
        f"Tidegate: release {release.number} refused by its scan",
        happened=f"Release {release.number} ({release.cause}) is {release.state} and was not rolled out.",
        why=release.reason,
        done=f"Nothing was changed. {_now_serves(serving)}",
        to_do=f"Push an image without them. Or deploy this one once all the same: {_release_all_the_same(release)}",
        look=f"ECR repository {repository}, image {release.image}",
    )


def scan_without_verdict(release: Release, serving: Release | None, why: str, repository: str) -> Alert:
    """Told once a release: the scan ended without a verdict, or its verdict does not come."""
    return Alert.of(
        f"release {release.number} has no verdict",
        f"Tidegate: release {release.number} is held, its scan has no verdict",
        happened=f"Release {release.number} ({release.cause}) waits for the scan of its image.",
        why=why,
        done=f"It stays {release.state}, and rolls when a verdict comes that lets it. {_now_serves(serving)}",
        to_do=f"Scan it again in ECR, or push again. Or deploy it all the same: {_release_all_the_same(release)}",
        look=f"ECR repository {repository}, image {release.image}",
    )


def scan_found(release: Release, verdict: Verdict, new: Sequence[str], repository: str) -> Alert:
    """Each finding is told once, of an image that is deployed already; `new` are those that nobody was told of."""
    known = len(new) < len(verdict.names)
    return Alert.of(
        f"findings {release.image} {hashlib.sha256(json.dumps(sorted(new)).encode()).hexdigest()[:16]}",
        f"Tidegate: the scan of release {release.number}'s image found {verdict.worst}",
        happened=f"Release {release.number} ({release.cause}) has findings that MaxSeverity does not allow.",
        why=f"{verdict.why} New: {', '.join(new)}." if known else verdict.why,
        done="Nothing: it is deployed already, and what serves is not taken away for that.",
        to_do="Push an image without them.",
        look=f"ECR repository {repository}, image {release.image}",
    )


def scan_failed(release: Release, why: str, repository: str) -> Alert:
    """Told once an image, of one that is deployed already: nobody knows what is in it."""
    return Alert.of(
        f"scan failed {release.image}",
        f"Tidegate: the scan of release {release.number}'s image failed",
        happened=f"Release {release.number} ({release.cause}) is deployed, and its scan has no verdict.",
        why=why,
        done="Nothing: ScanPolicy is report. If a scan of it ends after all, its findings are told.",
        to_do="Scan it again in ECR, or push an image that can be scanned.",
        look=f"ECR repository {repository}, image {release.image}",
    )


def _release_all_the_same(release: Release) -> str:
    return f"make release-held N={release.number} WHY='...' STACK=..."


def _now_serves(serving: Release | None) -> str:
    if serving is None:
        return "No release serves."
    return f"Release {serving.number} serves ({_content(serving)})."


def release_settled(release: Release, serving: Release | None, service: str) -> Alert:
    """SERVING, FAILED or ROLLED_BACK; `serving` is what serves now, or is on its way back."""
    if release.state is ReleaseState.SERVING:
        subject, done, to_do = f"Tidegate: release {release.number} serves", _now_serves(serving), "Nothing."
    else:
        subject = f"Tidegate: release {release.number} {release.state.value.lower().replace('_', ' ')}"
        done = (
            f"It is taken back: image and model of release {serving.number} roll out again ({_content(serving)}). "
            "You are told when they serve alone."
            if serving
            else "No release serves, so there is none to go back to: the placeholder goes out again, which is healthy "
            "and says on every other path that there is nothing yet. You are told when it runs alone."
        )
        done += " It is not tried again by itself."
        to_do = "Mend what it says under Why, and push again."
    return Alert.of(
        f"release {release.number} {release.state}",
        subject,
        happened=f"Release {release.number} ({release.cause}) is {release.state}: {_content(release)}.",
        why=_with_last_words(release.reason, release.failed),
        done=done,
        to_do=to_do,
        look=f"ECS service {service}",
    )


def went_back(back: Release, fate: Fate, failed: FailedTask | None, service: str) -> Alert:
    """The last good release, or the placeholder, is back, or could not be; `back.cause` says from which one."""
    content = "there is no release to go back to" if back.is_placeholder else _content(back)
    if fate.serves:
        subject, happened = f"Tidegate: {back.name} serves again", "It serves alone again"
        why, done, to_do = f"It is {back.cause}.", _now_serves(back), "Nothing more."
        if back.is_placeholder:
            done, to_do = "No release serves: the placeholder answers.", "Mend what fell, and push it under a new tag."
    else:
        subject, happened = f"Tidegate: {back.name} did not come back", "It could not be rolled out again"
        why = f"It is {back.cause}. {fate.by}: {fate.why}{f' {failed.sentence}' if failed else ''}"
        done = "If the service carries anything else it goes out again, later each time; what waits goes first."
        to_do = "Look at the service now: tasks of the release that was taken back may still run."
    return Alert.of(
        f"release {back.number} {back.cause}{'' if fate.serves else ', lost'}",
        subject,
        happened=f"{happened}: {content}.",
        why=_with_last_words(why, failed),
        done=done,
        to_do=to_do,
        look=f"ECS service {service}",
    )


def service_left(back: Release, service: str) -> Alert:
    """The service was found with something else than what serves; `back` is on its way."""
    return Alert.of(
        f"left {back.cause}",
        f"Tidegate: the service had left {back.name}",
        happened=f"It should run {back.name}, but {back.reason}.",
        why="Often a `sam deploy` that failed and went back to an older revision, or a change by hand.",
        done=f"It rolls out again ({_content(back)}). You are told when it serves alone.",
        to_do="Nothing, if you deployed. Otherwise see in CloudTrail who called UpdateService.",
        look=f"ECS service {service}",
    )


def _content(release: Release) -> str:
    return f"image {release.image}, model {release.model or 'none'}"


def _with_last_words(why: str, failed: FailedTask | None) -> str:
    return f"{why}\n{failed.last_words}" if failed else why


def alarm_changed(change: AlarmChange, told: Answer, dashboard: str, task: FailedTask | None = None) -> Alert:
    """`task` is one of the release that is taken back."""
    return Alert.of(
        change.incident,
        f"Tidegate: {change.state} {change.name}",
        happened=f"Alarm {change.name} went from {change.previous_state} to {change.state} at {_minute(change.at)}.",
        why=_with_last_words(change.reason or "CloudWatch gave no reason.", task),
        done=told.done,
        to_do=told.to_do,
        look=f"CloudWatch dashboard {dashboard}",
    )


def tasks_crash(alert_id: str, found: Pattern, told: Answer, task: FailedTask | None, service: str) -> Alert:
    """`task` is the one that crashed last."""
    release = found.release
    return Alert.of(
        alert_id,
        f"Tidegate: tasks of release {release.number} crash",
        happened=f"{found.sentence}: {_content(release)}.",
        why=_with_last_words(task.sentence, task) if task else "ECS does not show the tasks any more.",
        done=told.done,
        to_do=told.to_do,
        look=f"ECS service {service}",
    )


def machine_orphaned(machine: str, run_id: str, why: str) -> Alert:
    return Alert.of(
        f"orphan {machine}",
        f"Tidegate: stray machine {machine} ended",
        happened=f"Machine {machine} was running for run {run_id}.",
        why=why,
        done="It was terminated.",
        to_do="Nothing.",
        look=f"EC2 instance {machine}",
    )


def _quoted(key: str) -> str:
    """Quotes and line breaks of a key are escaped, so that it cannot pass for a line of ours."""
    return json.dumps(key, ensure_ascii=False)


def _minute(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC")
