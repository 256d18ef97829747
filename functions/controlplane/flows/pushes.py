"""A push becomes a release: looked into first, so that only an image that can run on the service rolls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..domain.images import IgnoredPush, Push, deployable
from ..domain.manifests import Platform, UnfitImage, child_of, config_of, is_index, must_run_on
from ..domain.pushes import is_overtaken, missed
from ..ports import Images, Ledger
from .releasing import Releasing
from .scanning import Scanning


@dataclass(frozen=True)
class Pushes:
    ledger: Ledger
    images: Images
    releasing: Releasing
    scanning: Scanning
    repository: str
    tag_pattern: str
    platform: Platform

    def take(self, push: Push) -> list[str]:
        """Propose the image that was pushed; refuse one that cannot run. Raises IgnoredPush, TryAgain."""
        image = deployable(push, repository=self.repository, tag_pattern=self.tag_pattern)
        if self.releasing.knows(image.cause):
            return [*self.releasing.go_on(), *self.scanning.look_at_held()]
        if is_overtaken(image, self.ledger.rollout()):
            raise IgnoredPush("its event came late: a later push was taken before")
        try:
            digest = self._runnable(image.digest)
        except UnfitImage as why:
            return self.releasing.refuse(image.cause, image=image.digest, why=str(why), pushed_at=image.at)
        return self.scanning.propose(image.cause, digest, pushed_at=image.at)

    def missed(self) -> list[str]:
        """The push whose event never came, if there is one; what lies in the repository is kept for the next look."""
        listed = self.images.pushed()
        seen = self.ledger.tags_seen()
        found: list[str] = []
        for push in missed(self._deployable(listed), self.ledger.rollout(), seen):
            try:
                found = self.take(push)
            except IgnoredPush:
                continue
            break
        here = frozenset(f"{push.digest} {push.tag}" for push in listed)
        if here != seen:
            self.ledger.keep_tags_seen(here)
        return found

    def _deployable(self, listed: Sequence[Push]) -> list[Push]:
        fitting = []
        for push in listed:
            try:
                fitting.append(deployable(push, repository=self.repository, tag_pattern=self.tag_pattern))
            except IgnoredPush:
                continue
        return fitting

    def _runnable(self, digest: str) -> str:
        """The digest of the image for the service's platform: an index is resolved, so that release, scan and task
        all speak of the same one."""
        manifest = self.images.manifest(digest)
        if manifest and is_index(manifest):
            digest = child_of(manifest, self.platform)
            manifest = self.images.manifest(digest)
        if manifest is None:
            raise IgnoredPush(f"{digest} is not in the repository")
        must_run_on(self.platform, self.images.config(config_of(manifest)))
        return digest
