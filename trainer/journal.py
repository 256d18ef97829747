"""What people and the control plane see of an attempt: one line a step, progress.json, train.log, outcome.json.

Everything goes to `logs/<run id>/<attempt>/`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Literal

from trainer.store import Store

Phase = Literal["reading", "training", "evaluating", "publishing"]
Outcome = Literal["trained", "failed", "interrupted", "stopped"]
Unit = Literal["rows", "steps", "files"]
PROGRESS_EVERY_S = 2.0
log = logging.getLogger("trainer")


class Journal:
    def __init__(
        self,
        store: Store,
        run_id: str,
        attempt: int,
        folder: Path,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._store, self._clock, self._now = store, clock, now
        self._same = {"contract": 1, "run_id": run_id, "attempt": attempt}
        self.prefix = f"logs/{run_id}/{attempt}/"
        self._path = folder / "train.log"
        self._handlers: list[logging.Handler] = [
            logging.FileHandler(self._path, encoding="utf-8"),
            logging.StreamHandler(sys.stdout),
        ]
        for handler in self._handlers:
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
            log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
        self._phase: Phase = "reading"
        self._unit: Unit = "rows"
        self._total: int | None = None
        self._phase_began = self._told_at = clock()
        self.accepted = self.rejected = 0
        self.saved_step: int | None = None  # of the newest complete checkpoint

    def phase(self, name: Phase, unit: Unit, total: int | None = None) -> None:
        self._phase, self._unit, self._total, self._phase_began = name, unit, total, self._clock()
        self._put_progress(0, None, None)

    def step(self, done: int, share_done: float | None = None, remark: str = "") -> None:
        """Tell how far it is, at most every two seconds. `share_done` (0 to 1) gives the time that is left."""
        if self._clock() - self._told_at < PROGRESS_EVERY_S:
            return
        spent = max(self._clock() - self._phase_began, 1e-9)
        eta = spent * (1 - share_done) / share_done if share_done else None
        total = f" of {self._total:,}" if self._total else ""
        rate = done / spent
        line = f"{self._phase}: {done:,}{total} {self._unit}, {rate:,.1f}/s"
        log.info(
            "%s%s%s", line, f", about {eta:.0f} s left" if eta is not None else "", f", {remark}" if remark else ""
        )
        self._put_progress(done, rate, eta)

    def say(self, line: str) -> None:
        log.info("%s", line)

    def trace(self) -> None:
        """The exception at hand goes to train.log alone: people get a sentence."""
        record = log.makeRecord(log.name, logging.ERROR, __file__, 0, "unexpected", (), sys.exc_info())
        self._handlers[0].handle(record)

    def outcome(self, outcome: Outcome, reason: str, cause: str | None = None) -> None:
        log.info("%s: %s", outcome, reason)
        self.flush()
        told = {"outcome": outcome, "cause": cause, "reason": reason, "step": self.saved_step, "at": self._at()}
        self._store.put_json(self.prefix + "outcome.json", {**self._same, **told})

    def flush(self) -> None:
        self._store.upload(self.prefix + "train.log", self._path)

    def close(self) -> None:
        for handler in self._handlers:
            log.removeHandler(handler)
            handler.close()

    def _put_progress(self, done: int, rate: float | None, eta: float | None) -> None:
        self._told_at = self._clock()
        told = {
            **self._same,
            "phase": self._phase,
            "done": done,
            "total": self._total,
            "unit": self._unit,
            "rate": None if rate is None else round(rate, 3),
            "eta_seconds": None if eta is None else round(eta, 1),
            "rows_accepted": self.accepted,
            "rows_rejected": self.rejected,
            "at": self._at(),
        }
        try:
            self._store.put_json(self.prefix + "progress.json", told)
        except Exception as fault:  # noqa: BLE001  it is for people who wait; the training is worth more
            log.warning("the progress could not be told (%s)", fault)

    def _at(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
