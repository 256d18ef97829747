"""What `gather` needs of a store and of a journal, in memory."""

from __future__ import annotations

import io
import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from trainer.dataset import Dataset, gather
from trainer.journal import Journal
from trainer.machine import Watch
from trainer.spec import SnapshotObject, Spec
from trainer.store import Store


class Shelf:
    """Keeps what is put and uploaded; files of the snapshot are given by key."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.kept: dict[str, Any] = {}

    def open_exact(self, key: str, version_id: str | None, etag: str, size: int) -> io.BufferedReader:  # noqa: ARG002
        return io.BufferedReader(io.BytesIO(self.files[key]))

    def upload(self, key: str, path: Path) -> None:
        self.kept[key] = path.read_bytes()

    def put(self, key: str, body: bytes, content_type: str = "") -> None:  # noqa: ARG002
        self.kept[key] = body

    def put_json(self, key: str, value: object) -> None:
        self.kept[key] = value

    def get_json(self, key: str) -> Any:
        return self.kept[key]


def spec(files: dict[str, bytes], **changes: Any) -> Spec:
    return Spec(
        **{
            "run_id": "run",
            "dataset": "default",
            "snapshot_digest": "sha256:0",
            "objects": tuple(SnapshotObject(key, None, "etag", len(body)) for key, body in files.items()),
            "text_column": None,
            "label_column": None,
            "champion": None,
            "baseline": None,
            "recipe": "linear",
            "knobs": {},
            "seed": 1,
            "max_rejected_share": 1.0,
            "max_data_shift": 1.0,
            "max_hours": 1.0,
            "max_cost": None,
            "prices": {},
        }
        | changes
    )


def gathered(shelf: Shelf, folder: Path, told_to_go: bool = False, **changes: Any) -> Dataset:
    """Read, check and split the shelf's files. Raises Failed as the trainer would."""
    ticks = itertools.count()
    store, watch = cast(Store, shelf), Watch(lambda: next(ticks) * 0.001)
    if told_to_go:
        watch.give_notice("spot", "Spot notice")
    journal = Journal(store, "run", 1, folder, lambda: next(ticks) * 0.001, now)
    try:
        return gather(store, spec(shelf.files, **changes), folder, journal, watch, now)
    finally:
        journal.close()


def now() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)
