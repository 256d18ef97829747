"""The fit of the recipe `transformer`: AdamW on the encoder and its head, a few optimizer steps at a time.

A step depends on nothing but the weights, the optimizer and its own number: the order of the rows comes from (seed,
epoch), dropout from (seed, step), the rate from the step. So a resumed fit ends bit for bit as one never interrupted,
where it goes on on the same kind of processor or GPU.
Where torch.distributed runs, every process takes its share of each batch, and gradients are summed.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import distributed
from torch.nn.functional import cross_entropy

from trainer.export_tokens import Classifier
from trainer.model_files import pad_tokens
from trainer.recipe_linear import calibrated
from trainer.transformer_knobs import Knobs
from trainer.transformer_rows import Rows, Task, chunks, order, some_of_validation

# Bounds the validation's scores in memory (80 MB): with many classes fewer validation rows are read.
SCORES_AT_MOST = 20_000_000
# How many tokens of validation rows are read in one step, about as dear as a training step of default size.
TOKENS_A_STEP = 32_768


class Fit:
    """The training, a few optimizer steps at a time; after each epoch, the validation in steps of its own."""

    learnt_validation = False

    def __init__(self, task: Task, knobs: Knobs) -> None:
        self._task, self.knobs = task, knobs
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
        self.asked = some_of_validation(task, SCORES_AT_MOST // task.labels)
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
        epoch = min(self._updates // self._batches_an_epoch + 1, self.knobs.epochs)
        if self._scores is not None:
            return f"epoch {epoch} of {self.knobs.epochs}, validation"
        loss, rows = self._epoch_loss
        return f"epoch {epoch} of {self.knobs.epochs}" + (f", loss {loss / rows:.4f}" if rows else "")

    @property
    def _all_updates(self) -> int:
        return self.knobs.epochs * self._batches_an_epoch

    def advance(self) -> None:
        """A few optimizer steps, or some of the validation."""
        if self._scores is not None:
            self._validate()
        else:
            for _ in range(self.knobs.steps):
                self._update()
                if self._updates % self._batches_an_epoch == 0:
                    loss, rows = self._epoch_loss
                    self.losses.append(("training", self.step + 1, loss / rows))
                    self._epoch_loss = [0.0, 0.0]
                    self._scores, self._scored = torch.zeros(len(self.asked), self._task.labels), 0
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
            self._order = (epoch, order(lengths, self.knobs.batch_rows, self._task.seed, epoch))
        batch = self._order[1][place]
        mine = batch[self._rank :: self._ranks]
        torch.manual_seed(_mixed(self._task.seed, self._updates, self._rank))
        self.model.train_mode()
        rate = rate_at(self._updates, self._all_updates, self.knobs.warm_up)
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
        torch.nn.utils.clip_grad_norm_(self.model.learning(), self.knobs.clip)
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
        batches = list(chunks(self.asked, self.knobs.batch_rows))
        found = torch.zeros_like(self._scores)
        while self._scored < len(batches) and tokens < TOKENS_A_STEP:
            batch = np.array(batches[self._scored], dtype=np.int64)
            places = slice(self._scored * self.knobs.batch_rows, self._scored * self.knobs.batch_rows + len(batch))
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
        temperature, loss = calibrated(scores, torch.from_numpy(rows.classes[self.asked]))
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


def rate_at(update: int, updates: int, warm_up: float) -> float:
    """The learning rate as a share of its highest: up in a straight line, then down to nothing at the end."""
    rising = max(1, round(warm_up * updates))
    if update < rising:
        return (update + 1) / rising
    return (updates - update) / max(1, updates - rising)


def _mixed(*parts: int) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "big")
