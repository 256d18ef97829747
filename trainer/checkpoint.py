"""What a machine leaves behind for the next one: `checkpoints/<run id>/<step>/state.pt`, then READY.json.

A checkpoint is complete or it is not there: only READY.json counts, it is written last, and it holds the sha256 of the
state. One of other data, knobs or trainer is not taken up.

Training does not wait for it: `begin` copies the state, and one thread makes the file, its hash and the upload while
the next steps are made. There is never more than one on its way: the loop begins the next one only when that one is
done, and `save`, the one on notice, waits for it and then writes its own.

How often: Young's rule (CACM 17, 1974), as Daly (FGCS 22, 2006) confirms it where a save is short against the time
between interruptions: T = sqrt(2 C M). C is what a save costs the training, measured: the copy, and the thread's time
on a core. M is a knob, 5 hours. EC2's Spot Instance Advisor promises far more (even its worst class, above 20 % of the
machines a month, is some 3,000 hours), but that is a mean over all pools, and the pool that is short of capacity is
the one that interrupts; too small an M wastes a few thousandths of the time, too large a one the work of an hour.

Known downside: while a checkpoint is on its way the state is in memory twice.
"""

from __future__ import annotations

import hashlib
import io
import math
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainer.journal import Journal
from trainer.store import Store

KEPT = 2
FLOOR_S = 5.0  # not more often: the bucket is asked a few times for each
_TELL_AGAIN = 2.0  # the interval is told anew when it has changed by this factor


def interval(cost_s: float, between_interruptions_s: float, at_most_s: float) -> float:
    """Seconds from one save to the next, by Young's rule; never more than `at_most_s`."""
    return min(at_most_s, max(FLOOR_S, math.sqrt(2 * cost_s * between_interruptions_s)))


class Cadence:
    """When the next checkpoint is due. What a save costs is learnt from each one."""

    def __init__(self, between_interruptions_s: float, at_most_s: float, say: Callable[[str], None]) -> None:
        self._between_s, self._at_most_s, self._say = between_interruptions_s, at_most_s, say
        self._told_s: float | None = None
        self.every_s = min(FLOOR_S, at_most_s)  # the first one soon: its cost is not known yet

    def learn(self, cost_s: float) -> None:
        self.every_s = interval(cost_s, self._between_s, self._at_most_s)
        told = self._told_s
        if told is None or self.every_s > told * _TELL_AGAIN or self.every_s < told / _TELL_AGAIN:
            self._told_s = self.every_s
            free = math.sqrt(2 * cost_s * self._between_s)
            why = f"Young's rule for an interruption every {self._between_s / 3600:g} h says {free:.0f} s"
            if free > self._at_most_s:
                why += ", save_every_s allows no longer"
            elif free < FLOOR_S:
                why += f", more often than every {FLOOR_S:g} s is not worth it"
            self._say(f"checkpoint every {self.every_s:.0f} s: a save costs {cost_s:.3f} s; {why}")


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was found sound."""

    step: int
    state: dict[str, Any]


class Checkpoints:
    def __init__(
        self, store: Store, journal: Journal, run_id: str, identity: str, about: dict[str, Any], cadence: Cadence
    ) -> None:
        """`identity` says what the fit depends on; `about` goes into READY.json for people."""
        self._store, self._journal, self._prefix = store, journal, f"checkpoints/{run_id}/"
        self._identity, self._about, self._cadence = identity, about, cadence
        self._thread: threading.Thread | None = None
        self._not_ours: set[str] = set()  # folders that are foreign or damaged: they neither count nor are touched
        self._newest: int | None = None  # step of the newest complete one of ours

    def latest(self) -> Saved | None:
        """The newest checkpoint that is complete, sound and of this very fit; the others are told and passed over."""
        for folder in reversed(complete(self._store.keys(self._prefix))):
            try:
                ready, body = self._store.get_json(folder + "READY.json"), self._store.get(folder + "state.pt")
                if ready["identity"] != self._identity:
                    fault = "it is of other rows, knobs, code or another torch"
                elif hashlib.sha256(body).hexdigest() != ready["sha256"]:
                    fault = "its state is not the one that was written"
                else:
                    state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
                    self._is_complete(int(ready["step"]))
                    return Saved(int(ready["step"]), state)
            except (KeyError, ValueError, TypeError) as broken:
                fault = f"it is incomplete or not readable ({type(broken).__name__})"
            self._not_ours.add(folder)
            self._journal.say(f"the checkpoint {folder} is passed over: {fault}")
        self._is_complete(None)
        return None

    @property
    def busy(self) -> bool:
        """One is still on its way."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, step: int, best: float | None, state: dict[str, Any]) -> None:
        """Save without waiting. To be called only when none is on its way."""
        self._join()
        began = time.perf_counter()
        kept = _copy(state)
        stall_s = time.perf_counter() - began
        self._thread = threading.Thread(
            target=self._in_background, args=(step, best, kept, stall_s), name="checkpoint", daemon=True
        )
        self._thread.start()

    def save(self, step: int, best: float | None, state: dict[str, Any]) -> None:
        """Save, and come back when the checkpoint is complete."""
        self._join()
        if self._newest != step:
            self._write(step, best, state)

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _in_background(self, step: int, best: float | None, state: dict[str, Any], stall_s: float) -> None:
        began = time.thread_time()
        try:
            self._write(step, best, state)
        except Exception as fault:  # noqa: BLE001  a bucket that is away must not end a sound training
            self._journal.say(f"the checkpoint of step {step} could not be saved ({fault}); the next one is tried")
            return
        self._cadence.learn(stall_s + time.thread_time() - began)

    def _write(self, step: int, best: float | None, state: dict[str, Any]) -> None:
        folder = f"{self._prefix}{step:09d}/"
        with tempfile.TemporaryDirectory(prefix="checkpoint-") as home:  # not in memory: it is large there already
            path = Path(home) / "state.pt"
            torch.save(state, path)
            with path.open("rb") as body:
                found = {"sha256": hashlib.file_digest(body, "sha256").hexdigest(), "bytes": path.stat().st_size}
            self._store.upload(folder + "state.pt", path)
        self._store.put_json(
            folder + "READY.json", {"step": step, "best": best, "identity": self._identity, **found, **self._about}
        )
        self._not_ours.discard(folder)
        self._is_complete(step)
        self._prune()

    def _is_complete(self, step: int | None) -> None:
        self._newest = self._journal.saved_step = step

    def _prune(self) -> None:
        """Keep the last two. What an older attempt left half written goes too."""
        keys = self._store.keys(self._prefix)
        ours = [folder for folder in complete(keys) if folder not in self._not_ours]
        if oldest := min(ours[-KEPT:], default=None):
            # The marker goes first: a half deleted checkpoint must not look complete.
            old = [key for key in keys if key < oldest and key.rpartition("/")[0] + "/" not in self._not_ours]
            self._store.delete(sorted(old, key=lambda key: not key.endswith("/READY.json")))


def complete(keys: list[str]) -> list[str]:
    """The folders that have a marker, oldest first."""
    return sorted(key.removesuffix("READY.json") for key in keys if key.endswith("/READY.json"))


def newest_step(store: Store, run_id: str) -> int | None:
    """Of the complete checkpoints, whatever they are of; None = there is none."""
    folders = complete(store.keys(f"checkpoints/{run_id}/"))
    return int(folders[-1].rstrip("/").rpartition("/")[2]) if folders else None


def _copy(value: Any) -> Any:
    """The same in memory of its own, on the CPU: the training goes on to change what it holds."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy(each) for each in value)
    return value
