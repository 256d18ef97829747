"""The recipe `transformer`: a Hugging Face encoder, fine-tuned with a linear head on top.

The text's tokens go through the encoder, their mean (or the first one) through dropout and a linear layer. AdamW, with
a linear warm-up and decay; after every epoch the validation rows are read, and the best weights by their loss are kept,
with the temperature that makes their probabilities honest. Rows of similar length are read together.

A step depends on nothing but the weights, the optimizer and its own number: the order of the rows comes from (seed,
epoch), dropout from (seed, step), the rate from the step. So a resumed fit ends bit for bit as one never interrupted,
where it goes on on the same kind of processor or GPU.
Where torch.distributed runs, every process takes its share of each batch, and gradients are summed.

Known downside: far dearer than `linear`; on a few thousand rows, and on topics rather than tone, it is seldom better.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import distributed
from torch.nn.functional import cross_entropy

from trainer import export_tokens
from trainer.dataset import Dataset
from trainer.encoder_files import EncoderFiles, bring
from trainer.errors import Failed
from trainer.export_tokens import Classifier
from trainer.features import STRIP_PATTERN
from trainer.model_files import pad_tokens
from trainer.recipe import LoopKnobs, Work
from trainer.recipe_linear import calibrated
from trainer.split import TRAIN, VALIDATION

TOGETHER = True  # where torch.distributed runs, all its processes take each step
# Bounds the validation's scores in memory (80 MB): with many classes fewer validation rows are read.
SCORES_AT_MOST = 20_000_000
# How many tokens of validation rows are read in one step, about as dear as a training step of default size.
TOKENS_A_STEP = 32_768
# Batches that are drawn together, so that rows of similar length meet.
BUCKET = 50


@dataclass(frozen=True)
class Knobs(LoopKnobs):
    save_every_s: float = 600.0  # as for every recipe, but a checkpoint is four times the encoder: often would be dear
    encoder: str = ""  # key prefix of the encoder's files in the bucket, or an absolute path of a folder
    max_tokens: int = 256  # of a longer text only the beginning is read
    pooling: str = "mean"  # what stands for a text: "mean" of its tokens, or "cls", the first one
    dropout: float = 0.1  # on what goes into the head
    epochs: int = 3  # passes over the training rows
    batch_rows: int = 32  # rows in an optimizer step, over all GPUs
    steps: int = 4  # optimizer steps between two possible checkpoints
    encoder_rate: float = 3e-5  # highest learning rate of the encoder
    head_rate: float = 1e-3  # highest learning rate of the head
    warm_up: float = 0.06  # share of all optimizer steps until the rates are at their highest
    weight_decay: float = 0.01  # of all but biases and norms
    clip: float = 1.0  # longest gradient
    frozen_layers: int = 0  # so many of the lowest layers, and the embeddings, stay as they are; -1 = the whole encoder
    balance: float = 0.0  # 0: rows weigh alike; 1: classes do. Probabilities are put back to the true shares either way
    mixed_precision: bool = True  # on a GPU: bfloat16, or float16 with scaled gradients on an older one
    compiled: bool = True  # on a GPU: torch.compile

    @classmethod
    def of(cls, given: dict[str, Any]) -> Knobs:
        """The defaults, with what the spec gives. Raises Failed for an unknown knob or a senseless value."""
        defaults = asdict(cls())
        if unknown := sorted(set(given) - set(defaults)):
            raise Failed(
                f"Unknown knob {', '.join(map(repr, unknown))}; recipe 'transformer' knows "
                f"{', '.join(sorted(defaults))}."
            )
        return cls(
            **{each.name: _checked(each.name, given.get(each.name, defaults[each.name])) for each in fields(cls)}
        )


_BETWEEN = {
    "dropout": (0, 0.9),
    "encoder_rate": (0, 1),
    "head_rate": (1e-9, 1),
    "warm_up": (0, 1),
    "weight_decay": (0, 1),
    "clip": (1e-6, 1e6),
    "balance": (0, 1),
    "save_every_s": (0, 1e6),
    "hours_between_interruptions": (0.01, 1e6),
}


def _checked(name: str, value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    match name:
        case "encoder":
            if isinstance(value, str):
                return value
            raise Failed(f"Knob 'encoder' must be a key prefix such as 'encoders/minilm/', not {value!r}.")
        case "pooling":
            if value in ("mean", "cls"):
                return value
            raise Failed(f"Knob 'pooling' must be 'mean' or 'cls', not {value!r}.")
        case "mixed_precision" | "compiled":
            if isinstance(value, bool):
                return value
            raise Failed(f"Knob {name!r} must be true or false, not {value!r}.")
        case _ if name in _BETWEEN:
            low, high = _BETWEEN[name]
            if number and low <= value <= high:
                return float(value)
            raise Failed(f"Knob {name!r} must be a number from {low:g} to {high:g}, not {value!r}.")
        case _:
            least = -1 if name == "frozen_layers" else 3 if name == "max_tokens" else 1
            if number and value == int(value) and value >= least:
                return int(value)
            raise Failed(f"Knob {name!r} must be a whole number of at least {least}, not {value!r}.")


class Rows:
    """Texts as token ids, on the disk: the ids of all texts in a row, and where each text begins."""

    def __init__(self, path: Path, lengths: list[int], classes: npt.NDArray[np.int64]) -> None:
        self.lengths = np.array(lengths, dtype=np.int64)
        self.classes = classes
        self._begins = np.concatenate([[0], np.cumsum(self.lengths)])
        self._ids = np.memmap(path, dtype=np.int32, mode="r")

    def __len__(self) -> int:
        return len(self.lengths)

    def ids(self, row: int) -> npt.NDArray[np.int32]:
        return self._ids[self._begins[row] : self._begins[row + 1]]


@dataclass(frozen=True)
class Task:
    """What the fit learns from."""

    files: EncoderFiles
    labels: int
    seed: int
    train: Rows
    validation: Rows


def prepare(dataset: Dataset, knobs: Knobs, seed: int, work: Work) -> Task:
    """Bring the encoder, and read all texts as its tokens."""
    files = bring(work.store, knobs.encoder, work.folder / "encoder")
    if knobs.max_tokens > files.longest:
        raise Failed(f"The encoder reads at most {files.longest} tokens: set the knob 'max_tokens' to that or less.")
    rows = dataset.rows_by_part()
    work.journal.phase("training", "rows", rows["train"] + rows["validation"])
    watched = work.watched(rows["train"] + rows["validation"], "nothing to save yet, the texts are read again")
    train, validation = (
        _tokenized(watched(dataset.texts(part)), dataset.classes(part), files, knobs, work.folder / f"{part}.ids")
        for part in (TRAIN, VALIDATION)
    )
    work.journal.say(
        f"tokens: {int(train.lengths.sum()):,} in {len(train):,} training texts, "
        f"{(train.lengths == knobs.max_tokens).mean():.1%} of them cut at {knobs.max_tokens}"
    )
    return Task(files, len(dataset.labels), seed, train, validation)


def _tokenized(
    texts: Iterable[str], classes: npt.NDArray[np.int64], files: EncoderFiles, knobs: Knobs, path: Path
) -> Rows:
    tokenizer, strip = export_tokens.cutting(files.tokenizer(), knobs.max_tokens), re.compile(STRIP_PATTERN)
    lengths: list[int] = []
    with path.open("wb") as file:
        for some in _chunks(texts, 500):
            for read in tokenizer.encode_batch_fast([strip.sub(" ", text) for text in some]):
                ids = read.ids or [files.padding]
                lengths.append(len(ids))
                file.write(np.array(ids, dtype=np.int32).tobytes())
    return Rows(path, lengths, classes)


class Fit:
    """The training, a few optimizer steps at a time; after each epoch, the validation in steps of its own."""

    learnt_validation = False

    def __init__(self, task: Task, knobs: Knobs) -> None:
        self._task, self._knobs = task, knobs
        self._device = (
            torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        )
        gpu = self._device.type == "cuda"
        torch.manual_seed(task.seed)  # the head's first weights
        shares = np.bincount(task.train.classes, minlength=task.labels) / len(task.train)
        weights = (shares.clip(1e-9) * task.labels) ** -knobs.balance
        self._weights = torch.tensor(weights / (weights * shares).sum(), dtype=torch.float32, device=self._device)
        self.model = Classifier(task.files.model(), task.labels, knobs.pooling, knobs.dropout)
        self.model.begin_at(shares * weights)
        self.model.freeze(knobs.frozen_layers)
        self.model.to(self._device)
        self._run = torch.compile(self.model, dynamic=True) if gpu and knobs.compiled else self.model
        half = torch.bfloat16 if gpu and torch.cuda.is_bf16_supported() else torch.float16
        self._half = half if gpu and knobs.mixed_precision else None
        self._scaler = torch.amp.GradScaler("cuda", enabled=self._half is torch.float16)
        self._optimizer = torch.optim.AdamW(
            self.model.groups(knobs.encoder_rate, knobs.head_rate, knobs.weight_decay), fused=gpu
        )
        together = distributed.is_available() and distributed.is_initialized()
        self._rank, self._ranks = (distributed.get_rank(), distributed.get_world_size()) if together else (0, 1)
        self._asked = _some(task, SCORES_AT_MOST // task.labels)
        self._batches_an_epoch = -(-len(task.train) // knobs.batch_rows)
        self._rates = [group["lr"] for group in self._optimizer.param_groups]
        self.step = 0  # calls of advance()
        self._updates = 0  # optimizer steps
        self._epoch_loss = [0.0, 0.0]  # sum and rows since the last validation
        self._scores: torch.Tensor | None = None  # while the validation is under way
        self._scored = 0  # batches of it
        self.losses: list[tuple[str, int, float]] = []
        self.best: float | None = None
        self.temperature = 1.0
        self._best_weights: dict[str, torch.Tensor] = {}
        self._order: tuple[int, list[npt.NDArray[np.int64]]] = (-1, [])

    @property
    def finished(self) -> bool:
        return self._updates == self._all_updates and self._scores is None

    @property
    def share_done(self) -> float:
        return self._updates / self._all_updates

    @property
    def remark(self) -> str:
        epoch = min(self._updates // self._batches_an_epoch + 1, self._knobs.epochs)
        if self._scores is not None:
            return f"epoch {epoch} of {self._knobs.epochs}, validation"
        loss, rows = self._epoch_loss
        return f"epoch {epoch} of {self._knobs.epochs}" + (f", loss {loss / rows:.4f}" if rows else "")

    @property
    def _all_updates(self) -> int:
        return self._knobs.epochs * self._batches_an_epoch

    def advance(self) -> None:
        """A few optimizer steps, or some of the validation."""
        if self._scores is not None:
            self._validate()
        else:
            for _ in range(self._knobs.steps):
                self._update()
                if self._updates % self._batches_an_epoch == 0:
                    loss, rows = self._epoch_loss
                    self.losses.append(("training", self.step + 1, loss / rows))
                    self._epoch_loss = [0.0, 0.0]
                    self._scores, self._scored = torch.zeros(len(self._asked), self._task.labels), 0
                    break
        self.step += 1

    def state_dict(self) -> dict[str, Any]:
        return {
            "weights": self.model.trained(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "step": self.step,
            "updates": self._updates,
            "epoch_loss": list(self._epoch_loss),
            "scores": self._scores,
            "scored": self._scored,
            "losses": list(self.losses),
            "best": self.best,
            "temperature": self.temperature,
            "best_weights": self._best_weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.take(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._scaler.is_enabled() and state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])
        self.step, self._updates, self._epoch_loss = state["step"], state["updates"], list(state["epoch_loss"])
        self._scores, self._scored = state["scores"], state["scored"]
        self.losses = [tuple(each) for each in state["losses"]]
        self.best, self.temperature, self._best_weights = state["best"], state["temperature"], state["best_weights"]

    def best_model(self) -> Classifier:
        """The best weights, on the CPU, answering with honest probabilities. The fit is over then."""
        self.model.to("cpu").take(self._best_weights)
        return self.model.calibrated(self._weights.cpu().log(), self.temperature)

    def _update(self) -> None:
        epoch, place = divmod(self._updates, self._batches_an_epoch)
        if self._order[0] != epoch:
            lengths = self._task.train.lengths
            self._order = (epoch, order(lengths, self._knobs.batch_rows, self._task.seed, epoch))
        batch = self._order[1][place]
        mine = batch[self._rank :: self._ranks]
        torch.manual_seed(_mixed(self._task.seed, self._updates, self._rank))
        self.model.train_mode()
        rate = rate_at(self._updates, self._all_updates, self._knobs.warm_up)
        for group, highest in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * highest
        self._optimizer.zero_grad(set_to_none=True)
        told = torch.zeros(1, device=self._device)
        if len(mine):
            logits, classes = self._logits(self._task.train, mine)
            loss = cross_entropy(logits, classes, self._weights, reduction="sum") / len(batch)
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            told += loss.detach()
        self._share_gradients(told)
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.learning(), self._knobs.clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._epoch_loss[0] += float(told) * len(batch)
        self._epoch_loss[1] += len(batch)
        self._updates += 1

    def _share_gradients(self, told: torch.Tensor) -> None:
        """Sum over all processes: each loss is already a share of the whole batch's mean."""
        if self._ranks == 1:
            return
        learning = self.model.learning()
        grads = [torch.zeros_like(each) if each.grad is None else each.grad for each in learning]
        flat = torch.cat([told, *(grad.reshape(-1) for grad in grads)])
        distributed.all_reduce(flat)
        told.copy_(flat[:1])
        at = 1
        for each in learning:
            each.grad = flat[at : at + each.numel()].view_as(each)
            at += each.numel()

    @torch.no_grad()
    def _validate(self) -> None:
        assert self._scores is not None
        rows, tokens = self._task.validation, 0
        self.model.eval()
        batches = list(_chunks(self._asked, self._knobs.batch_rows))
        found = torch.zeros_like(self._scores)
        while self._scored < len(batches) and tokens < TOKENS_A_STEP:
            batch = np.array(batches[self._scored], dtype=np.int64)
            places = slice(self._scored * self._knobs.batch_rows, self._scored * self._knobs.batch_rows + len(batch))
            if self._scored % self._ranks == self._rank:
                found[places] = self._logits(rows, batch)[0].cpu()
            tokens += int(rows.lengths[batch].max()) * len(batch)
            self._scored += 1
        if self._ranks > 1:
            shared = found.to(self._device)
            distributed.all_reduce(shared)
            found = shared.cpu()
        self._scores = self._scores + found
        if self._scored < len(batches):
            return
        scores = self._scores - self._weights.cpu().log()  # back to the true shares of the classes
        self._scores = None
        temperature, loss = calibrated(scores, torch.from_numpy(rows.classes[self._asked]))
        self.losses.append(("validation", self.step + 1, loss))
        if self.best is None or loss < self.best:
            self.best, self.temperature = loss, temperature
            self._best_weights = {name: weight.cpu().clone() for name, weight in self.model.trained().items()}

    def _logits(self, rows: Rows, batch: npt.NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        fed = pad_tokens([rows.ids(int(row)) for row in batch], self._task.files.padding)
        ids, mask = (torch.from_numpy(fed[name]).to(self._device) for name in ("input_ids", "attention_mask"))
        with torch.autocast("cuda", self._half or torch.float16, enabled=self._half is not None):
            logits = self._run(ids, mask)
        return logits.float(), torch.from_numpy(rows.classes[batch]).to(self._device)


def order(lengths: npt.NDArray[np.int64], size: int, seed: int, epoch: int) -> list[npt.NDArray[np.int64]]:
    """The epoch's batches: rows of similar length together, all else at random. Depends on (seed, epoch) alone."""
    random = np.random.default_rng([seed % 2**63, epoch])
    rows = random.permutation(len(lengths))
    batches: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(rows), BUCKET * size):
        some = rows[start : start + BUCKET * size]
        some = some[np.argsort(lengths[some], kind="stable")]
        batches += [some[at : at + size] for at in range(0, len(some), size)]
    return [batches[each] for each in random.permutation(len(batches))]


def rate_at(update: int, updates: int, warm_up: float) -> float:
    """The learning rate as a share of its highest: up in a straight line, then down to nothing at the end."""
    rising = max(1, round(warm_up * updates))
    if update < rising:
        return (update + 1) / rising
    return (updates - update) / max(1, updates - rising)


def _chunks(some: Iterable[Any], size: int) -> Iterator[list[Any]]:
    through = iter(some)
    while chunk := list(islice(through, size)):
        yield chunk


def _mixed(*parts: int) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "big")


def _some(task: Task, at_most: int) -> list[int]:
    """The validation rows that are read: all, or a fixed choice; by length, so that little is padding."""
    rows: Iterator[int] | npt.NDArray[np.int64] = np.arange(len(task.validation))
    if len(task.validation) > at_most:
        rows = np.random.default_rng(task.seed % 2**63).choice(len(task.validation), at_most, replace=False)
    return sorted((int(row) for row in rows), key=lambda row: (task.validation.lengths[row], row))


def new_fit(task: Task, knobs: Knobs) -> Fit:
    return Fit(task, knobs)


def write_model(folder: Path, task: Task, fit: Fit, dataset: Dataset) -> None:
    knobs = fit._knobs
    some = [task.validation.ids(row) for row in fit._asked[:: max(1, len(fit._asked) // 16)]]
    export_tokens.write_model(folder, fit.best_model(), task.files, dataset.labels, knobs.max_tokens, some)


def fingerprint(task: Task) -> str:
    """Which encoder it is. Not on what it runs: it may go on on another GPU, though that rounds differently."""
    return task.files.digest


def words(task: Task, fit: Fit) -> None:  # noqa: ARG001
    """It does not know words: /explain finds them out for a text."""
    return


def profile_features(task: Task) -> tuple[None, None, list[dict[str, Any]]]:  # noqa: ARG001
    return None, None, []
