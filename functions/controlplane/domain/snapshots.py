"""A snapshot: the exact objects that a run trains on. Its digest is its identity, and the run's."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from .drops import Drop


@dataclass(frozen=True)
class Snapshot:
    dataset: str
    drops: tuple[Drop, ...]

    @classmethod
    def of(cls, dataset: str, accepted: Iterable[Drop], present: Iterable[tuple[str, str]]) -> Snapshot:
        """The accepted drops whose (key, etag) still lie in the bucket; of the same content, the last one written."""
        in_order = sorted(accepted, key=lambda drop: drop.sequencer.rjust(32, "0"))  # hexadecimal, of any length
        by_content = {(drop.key, drop.etag): drop for drop in in_order}
        drops = [by_content[content] for content in sorted(set(present)) if content in by_content]
        return cls(dataset=dataset, drops=tuple(drops))

    @property
    def digest(self) -> str:
        """sha256 over keys and contents: the same bytes under the same names are the same snapshot."""
        contents = [[drop.key, drop.etag, drop.size] for drop in self.drops]
        return "sha256:" + hashlib.sha256(json.dumps([self.dataset, contents]).encode()).hexdigest()

    @property
    def run_id(self) -> str:
        """`<dataset>-<digest>`, in letters that an S3 prefix, a tag and a client token take."""
        return f"{slug(self.dataset)}-{self.digest.removeprefix('sha256:')[:12]}"

    def run_id_after(self, failed: int) -> str:
        """Of a new run when so many of the same snapshot failed before: `…-2` is the second one."""
        return f"{self.run_id}-{failed + 1}" if failed else self.run_id


def slug(dataset: str) -> str:
    """A dataset's name in [a-z0-9-], at most 31 letters; a name that had to be changed carries a hash of itself."""
    plain = re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")[:24].strip("-")
    if plain == dataset:
        return plain
    mark = hashlib.sha256(dataset.encode()).hexdigest()[:6]
    return f"{plain}-{mark}" if plain else f"d-{mark}"
