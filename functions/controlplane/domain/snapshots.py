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
    config: str | None = None

    @classmethod
    def of(cls, dataset: str, accepted: Iterable[Drop], present: Iterable[tuple[str, str]]) -> Snapshot:
        """The accepted drops whose (key, etag) still lie in the bucket; of the same content, the last one written.

        A tidegate.yaml that was refused leaves its last accepted version in force.
        """
        there = set(present)
        in_order = sorted(accepted, key=lambda drop: drop.sequencer.rjust(32, "0"))  # hexadecimal, of any length
        by_content = {(drop.key, drop.etag): drop for drop in in_order}
        drops = [by_content[content] for content in sorted(there) if content in by_content]
        keys = {key for key, _ in there}
        said = [drop for drop in in_order if drop.config is not None and drop.key in keys]
        said.sort(key=lambda drop: (drop.key, drop.etag) in there)
        rows = tuple(drop for drop in drops if drop.config is None)
        return cls(dataset=dataset, drops=rows, config=said[-1].config if said else None)

    @property
    def digest(self) -> str:
        """sha256 over keys, contents and what tidegate.yaml says: the same bytes and orders are the same snapshot."""
        contents = [[drop.key, drop.etag, drop.size] for drop in self.drops]
        orders = [self.config] if self.config and self.config != "{}" else []
        return "sha256:" + hashlib.sha256(json.dumps([self.dataset, contents, *orders]).encode()).hexdigest()

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
