"""What people read of releases and of decisions on them."""

from __future__ import annotations

from ..decisions import Decision, Plan
from ..failures import FailedTask
from ..releases import BY_A_PERSON, Fate, Release, ReleaseState
from .alert import Alert


def release_refused(release: Release, serving: Release | None, service: str) -> Alert:
    """FAILED before it rolled; `serving` is what serves now."""
    look = f"ECS service {service}"
    return refused(release, serving, "refused", to_do="Mend it, and push again under a new tag.", look=look)


def refused(release: Release, serving: Release | None, how: str, *, to_do: str, look: str) -> Alert:
    return Alert.of(
        f"release {release.number} {release.state}",
        f"Tidegate: release {release.number} {how}",
        happened=f"Release {release.number} ({release.cause}) is {release.state} and was not rolled out.",
        why=release.reason,
        done=f"Nothing was changed. {now_serves(serving)}",
        to_do=to_do,
        look=look,
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
        done, to_do = f"Nothing: its image and model serve already. {now_serves(serving)}", "Nothing."
    elif instead is None:
        done = f"Nothing: what was there before was wanted again after it, so that stays. {now_serves(serving)}"
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


def release_settled(release: Release, serving: Release | None, service: str) -> Alert:
    """SERVING, FAILED or ROLLED_BACK; `serving` is what serves now, or is on its way back."""
    if release.state is ReleaseState.SERVING:
        subject, done = f"Tidegate: release {release.number} serves", now_serves(serving)
        to_do = (
            "Nothing." if release.model else "Drop a CSV under raw/: until a model is promoted, /predict answers 503."
        )
    else:
        subject = f"Tidegate: release {release.number} {release.state.value.lower().replace('_', ' ')}"
        done = (
            f"It is taken back: image and model of release {serving.number} roll out again ({content(serving)}). "
            "You are told when they serve alone."
            if serving
            else "No release serves, so there is none to go back to: the placeholder goes out again, which is healthy "
            "and says on every other path that there is nothing yet. You are told when it runs alone."
        )
        done += " It is not tried again by itself."
        to_do = (
            "Nothing more, a person decided it. If it is wanted after all, push its image under a new tag."
            if release.by == BY_A_PERSON
            else "Mend what it says under Why, and push again."
        )
    return Alert.of(
        f"release {release.number} {release.state}",
        subject,
        happened=f"Release {release.number} ({release.cause}) is {release.state}: {content(release)}.",
        why=with_last_words(release.reason, release.failed),
        done=done,
        to_do=to_do,
        look=f"ECS service {service}",
    )


def went_back(back: Release, fate: Fate, failed: FailedTask | None, service: str) -> Alert:
    """The last good release, or the placeholder, is back, or could not be; `back.cause` says from which one."""
    what = "there is no release to go back to" if back.is_placeholder else content(back)
    if fate.serves:
        subject, happened = f"Tidegate: {back.name} serves again", "It serves alone again"
        why, done, to_do = f"It is {back.cause}.", now_serves(back), "Nothing more."
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
        happened=f"{happened}: {what}.",
        why=with_last_words(why, failed),
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
        done=f"It rolls out again ({content(back)}). You are told when it serves alone.",
        to_do="Nothing, if you deployed. Otherwise see in CloudTrail who called UpdateService.",
        look=f"ECS service {service}",
    )


def now_serves(serving: Release | None) -> str:
    if serving is None:
        return "No release serves."
    return f"Release {serving.number} serves ({content(serving)})."


def content(release: Release) -> str:
    return f"image {release.image}, model {release.model or 'none'}"


def with_last_words(why: str, failed: FailedTask | None) -> str:
    return f"{why}\n{failed.last_words}" if failed else why
