"""Which push was missed: ECR's events are best effort, and what ECR lists does not tell when a tag was given.

ECR's `imagePushedAt` is the digest's, not the tag's. So two looks are compared: a digest that was not there at the last
look is fresh, and fresh ones are in order; a new tag on a digest that was there is a person's deploy of an old image.
What cannot be known: which came last, when an old image was tagged and a fresh one pushed between two looks, and one
of the two events was lost; then the fresh one counts. And a tag that was taken away and put back on the same digest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .images import Push
from .rollout import Rollout, digests_known_to


def missed(listed: Sequence[Push], rollout: Rollout, seen: frozenset[str] | None) -> list[Push]:
    """Pushes to propose, the likeliest first; only one of them is to be taken.

    `listed` are the deployable ones, newest digest first; `seen` is what lay there at the last look, None before it.
    """
    if seen is None:
        known = digests_known_to(rollout)
        return _until_known(listed, lambda push: push.digest in known)
    digests = {told.split(" ")[0] for told in seen}
    fresh = [push for push in listed if push.digest not in digests]
    if fresh:
        return _until_known(fresh, lambda push: push.cause in rollout.causes)
    return [push for push in listed if f"{push.digest} {push.tag}" not in seen and push.cause not in rollout.causes]


def is_overtaken(push: Push, rollout: Rollout) -> bool:
    """Its event comes late: one of a later push was taken before. Two of the same second are not told apart."""
    return push.at is not None and rollout.newest_push is not None and push.at < rollout.newest_push


def _until_known(listed: Sequence[Push], is_known: Callable[[Push], bool]) -> list[Push]:
    """Newer than every known one: older ones were overtaken."""
    found = []
    for push in listed:
        if is_known(push):
            break
        found.append(push)
    return found
