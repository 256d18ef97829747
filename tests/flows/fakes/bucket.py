"""The bucket in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from controlplane.domain.batches import RefusedDrop
from controlplane.domain.drops import Drop, Finding
from controlplane.domain.models import BadManifest
from controlplane.domain.probes import ChangedGoldenSet, GoldenRow
from controlplane.domain.runs import Outcome


@dataclass
class FakeBucket:
    """Versioned objects under raw/; what the trainer writes is put in by the test."""

    objects: dict[str, list[tuple[str, str, bytes]]] = field(default_factory=dict)
    reports: dict[str, list[Finding]] = field(default_factory=dict)
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    manifests: dict[str, Any] = field(default_factory=dict)
    files: dict[tuple[str, str], str] = field(default_factory=dict)
    outcomes: dict[tuple[str, int], Outcome] = field(default_factory=dict)
    cards: dict[str, tuple[dict[str, Any], str]] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)  # models whose golden set was changed after they were published
    puts: int = 0

    def put(self, key: str, content: bytes) -> Drop:
        """Upload, and return what the event would tell."""
        self.puts += 1
        etag, version = hashlib.md5(content, usedforsecurity=False).hexdigest(), f"version-{self.puts}"
        self.objects.setdefault(key, []).append((version, etag, content))
        return Drop(key, etag, len(content), version)

    def delete(self, key: str) -> None:
        del self.objects[key]

    def head(self, drop: Drop, size: int) -> bytes | None:
        for version, etag, content in reversed(self.objects.get(drop.key, [])):
            if drop.version_id in {None, version}:
                return content[:size] if etag == drop.etag else None
        return None

    def present(self, dataset: str) -> Iterable[tuple[str, str]]:
        return [
            (key, versions[-1][1])
            for key, versions in sorted(self.objects.items())
            if Drop(key, "", 0).dataset == dataset
        ]

    def config(self, dataset: str, size: int) -> bytes | None:
        places = [f"raw/{dataset}/tidegate.yaml", *(["raw/tidegate.yaml"] if dataset == "default" else [])]
        found = [self.objects[key][-1][2][:size] for key in places if key in self.objects]
        return found[0] if found else None

    def quarantine(self, drop: Drop, finding: Finding, at: datetime) -> RefusedDrop:
        assert at.tzinfo is not None, "a time without a zone says nothing"
        self.reports[drop.drop_id] = [finding]
        return RefusedDrop(drop.drop_id, drop.key, finding.sentence)

    def write_spec(self, run_id: str, spec: Mapping[str, Any]) -> None:
        self.specs[run_id] = json.loads(json.dumps(spec))

    def read_spec(self, run_id: str) -> dict[str, Any]:
        return dict(self.specs.get(run_id, {}))

    def manifest(self, run_id: str) -> dict[str, Any] | None:
        told = self.manifests.get(run_id)
        if isinstance(told, str):
            raise BadManifest("the manifest is not JSON")
        return told

    def is_published(self, run_id: str) -> bool:
        return run_id in self.manifests

    def sha256_of(self, run_id: str, path: str) -> str | None:
        return self.files.get((run_id, path))

    def outcome(self, run_id: str, attempt: int) -> Outcome | None:
        return self.outcomes.get((run_id, attempt))

    def golden(self, run_id: str) -> tuple[GoldenRow, ...]:
        if run_id in self.changed:
            raise ChangedGoldenSet(f"golden.json of model {run_id} is not the file that the trainer published")
        return (GoldenRow("a warm film", "pos"),) if run_id in self.manifests else ()

    def keys_of(self, run_id: str) -> Sequence[str]:
        return sorted(key for key in self.keys if key.split("/")[1] == run_id)

    def write_card(self, run_id: str, card: Mapping[str, Any], page: str) -> None:
        self.cards[run_id] = (json.loads(json.dumps(card)), page)
