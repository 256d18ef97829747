"""A folder that stands for a bucket: it is listed while somebody else writes and deletes."""

from __future__ import annotations

import threading
from pathlib import Path

from trainer.folder_store import FolderStore


def test_keys_are_listed_while_folders_come_and_go(tmp_path: Path) -> None:
    """As checkpoints do, beside the training."""
    store = FolderStore({"": tmp_path})
    store.put("kept/a.json", b"{}")

    def come_and_go() -> None:
        for number in range(500):
            store.put(f"{number}/a.json", b"{}")
            store.delete([f"{number}/a.json"])

    other = threading.Thread(target=come_and_go)
    other.start()
    listed = 0
    while other.is_alive():
        assert "kept/a.json" in store.keys("")
        listed += 1
    other.join()
    assert listed > 1 and store.keys("") == ["kept/a.json"]
