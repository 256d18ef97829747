"""What a machine leaves behind for the next one: `checkpoints/<run id>/<step>/state.pt`, then READY.json.

A checkpoint is complete or it is not there: only READY.json counts, it is written last, and it holds the sha256 of the
state. One of other data, knobs or trainer is not taken up.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any

import torch

from trainer.store import Store

KEPT = 2


class Checkpoints:
    def __init__(self, store: Store, run_id: str, identity: str) -> None:
        """`identity` says what the fit depends on; a checkpoint of another identity is ignored."""
        self._store, self._prefix, self._identity = store, f"checkpoints/{run_id}/", identity

    def save(self, step: int, state: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        body = buffer.getvalue()
        folder = f"{self._prefix}{step:06d}/"
        ready = {
            "step": step,
            "identity": self._identity,
            "sha256": hashlib.sha256(body).hexdigest(),
            "bytes": len(body),
        }
        self._store.put(folder + "state.pt", body)
        self._store.put_json(folder + "READY.json", ready)
        self._prune(self._folders()[:-KEPT])

    def latest(self) -> tuple[int, dict[str, Any]] | None:
        """The newest checkpoint that is complete, sound and of this very fit."""
        for folder in reversed(self._folders()):
            try:
                ready, body = self._store.get_json(folder + "READY.json"), self._store.get(folder + "state.pt")
            except KeyError:
                continue
            if ready["identity"] == self._identity and hashlib.sha256(body).hexdigest() == ready["sha256"]:
                return ready["step"], torch.load(io.BytesIO(body), weights_only=True)
        return None

    def _folders(self) -> list[str]:
        """Those with a marker, oldest first."""
        return [key.removesuffix("READY.json") for key in self._store.keys(self._prefix) if key.endswith("/READY.json")]

    def _prune(self, folders: list[str]) -> None:
        # The marker goes first: a half deleted checkpoint must not look complete.
        for folder in folders:
            self._store.delete([folder + "READY.json", folder + "state.pt"])
