"""The trainer on a folder, as bench.big starts it: `python -m bench.big_child FOLDER CSV`.

It trains as on any machine; the store only notes, beside each progress.json, the time and the memory held.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from bench.big import KEY, RUN
from trainer.__main__ import attempt  # first: it sets what torch must see before it is loaded
from trainer.folder_store import FolderStore
from trainer.machine import Watch
from trainer.settings import Settings


class NotingStore(FolderStore):
    def __init__(self, home: Path, table: Path) -> None:
        super().__init__({"": home, KEY: table})
        self._notes = (home / "progress.jsonl").open("w", buffering=1)

    def put_json(self, key: str, value: Any) -> None:
        super().put_json(key, value)
        if key.endswith("/progress.json"):
            note = {**value, "seconds": time.monotonic(), "resident_bytes": resident()}
            self._notes.write(json.dumps(note) + "\n")


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


if __name__ == "__main__":
    settings = Settings.of({"TIDEGATE_BUCKET": "folder", "TIDEGATE_RUN": RUN, "TIDEGATE_ATTEMPT": "1"})
    sys.exit(attempt(settings, NotingStore(Path(sys.argv[1]), Path(sys.argv[2])), Watch(time.monotonic)))
