"""What a recipe is: the little that the loop asks of whoever makes a model. train.py does the rest, once for all.

A recipe is a module `recipe_<name>.py` that offers the names of `Recipe`; it is imported when a spec asks for it. All
that decides its weights goes through `Fit.state_dict`, so that a fit which moves to another machine after any step
ends in the same weights, bit for bit. A recipe that can share its steps among processes (torch.distributed) says so:
`TOGETHER = True`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, cast

from trainer.dataset import Dataset
from trainer.errors import Failed
from trainer.journal import Journal
from trainer.machine import Watch
from trainer.store import Store
from trainer.team import Team

MODULES = {"linear": "trainer.recipe_linear", "transformer": "trainer.recipe_transformer"}


@dataclass(frozen=True)
class LoopKnobs:
    """What the loop itself is told; each recipe's knobs begin with these."""

    threads: int = 2  # fixed, not the machine's: another number rounds differently
    save_every_s: float = 60.0  # a checkpoint at least this often, besides the one on notice
    hours_between_interruptions: float = 5.0  # how long a Spot machine is thought to live, see checkpoint.py

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """The defaults, with what the spec gives. Raises Failed for an unknown knob or a senseless value."""
        raise NotImplementedError


@dataclass(frozen=True)
class Work:
    """What an attempt works with: where things are kept, who is told, who knows of the end, and a folder of its own."""

    store: Store
    journal: Journal
    watch: Watch
    folder: Path
    team: Team = field(default_factory=Team)

    def watched(self, total: int, remark: str) -> Callable[[Iterable[str]], Iterator[str]]:
        """A way to go through texts (`total` in all): progress is told, and it ends when the watch says so.

        `remark` says what is left behind then.
        """
        done = 0

        def through(texts: Iterable[str]) -> Iterator[str]:
            nonlocal done
            for text in texts:
                if done % 200 == 0:
                    self.journal.step(done, done / total)
                    self.watch.end_if_told(remark)
                done += 1
                yield text

        return through


class Fit(Protocol):
    """One training, step by step. A step is what may lie between two checkpoints: seconds, not minutes."""

    learnt_validation: bool  # the validation rows are trained on in the end: what they measure then is worth nothing
    losses: list[tuple[str, int, float]]  # curve ("training", "validation", …), step, nats per row

    @property
    def step(self) -> int:
        """Completed steps."""

    @property
    def finished(self) -> bool: ...

    @property
    def share_done(self) -> float:
        """A guess from 0 to 1, for people who wait."""

    @property
    def remark(self) -> str:
        """A few words for the progress line; may be empty."""

    @property
    def best(self) -> float | None:
        """The best validation loss so far."""

    def advance(self) -> None:
        """One step."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain data only: model, optimizer, order and position of the data, random state, best, losses.

        The tensors may be the living ones: the loop copies them before the next step.
        """

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there; the tensors lie on the CPU."""


@dataclass(frozen=True)
class History:
    """What is told of a finished fit, when its rows have left the memory."""

    losses: list[tuple[str, int, float]]
    step: int
    best: float | None

    @classmethod
    def of(cls, fit: Fit) -> History:
        return cls(list(fit.losses), fit.step, fit.best)


class Recipe(Protocol):
    """The names that a recipe's module offers. `task` is the recipe's own: what its fit learns from."""

    @property
    def Knobs(self) -> type[LoopKnobs]: ...  # noqa: N802  it is a class

    def prepare(self, dataset: Dataset, knobs: Any, seed: int, work: Work) -> Any:
        """The rows as the fit wants them. Tells its progress, and ends when the watch says so."""

    def new_fit(self, task: Any, knobs: Any) -> Fit: ...

    def write_model(self, folder: Path, task: Any, fit: Any, dataset: Dataset) -> None:
        """model.onnx, model.pt, features.json, labels.json and the kind's own files; the same fit, the same bytes."""

    def fingerprint(self, task: Any) -> str:
        """Of what the task has besides snapshot and knobs: part of a checkpoint's identity."""

    def words(self, task: Any, fit: Any) -> list[list[str]] | None:
        """For each class the words that push towards it, for the model card; None where a recipe knows none."""

    def profile_features(self, task: Any) -> tuple[dict[str, float] | None, int | None, list[dict[str, Any]]]:
        """For profile.json: quantiles of known features in a text, vocabulary's size, the commonest tokens."""


def load(name: str) -> Recipe:
    """The recipe of that name. Raises Failed when there is none."""
    if name not in MODULES:
        raise Failed(f"Unknown recipe {name!r}; this trainer knows {', '.join(MODULES)}.")
    return cast(Recipe, importlib.import_module(MODULES[name]))
