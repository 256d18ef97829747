"""The fit of the recipe `linear`: softmax regression over the n-grams that a text has, by full-batch L-BFGS.

What a feature adds to a class is its weight times a fixed scale (how surely it speaks for the class, and how rare it
is), divided by the length of the text's idf vector. The L2 penalty holds the weights, so a feature with a larger scale
is learnt more cheaply. First one fit for each L2 strength, from strong to weak, each beginning where the last ended,
until the validation loss rises; then the best strength once more, with the validation rows too.

Every sum is made in an order that does not depend on the number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.nn.functional import embedding_bag, one_hot

from trainer.calibrate import calibrated
from trainer.features import Encoded
from trainer.linear_knobs import Knobs

# Bounds the scores, and the cells of the matrix on its way to the other orientation, that are in memory at once.
SCORES_AT_MOST = 4_000_000
CELLS_AT_MOST = 16_000_000


def _sum_of(rows: torch.Tensor, ids: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """For each bag of ids the sum of those rows: both the forward and the backward product of a sparse 0/1 matrix."""
    return embedding_bag(ids, rows, offsets, mode="sum", include_last_offset=True)


class _Block:
    """Some of the texts, with the same matrix the other way round: for each feature the texts that have it."""

    def __init__(self, data: Encoded, first: int, end: int, features: int) -> None:
        offsets = data.offsets[first : end + 1]
        ids = data.ids[offsets[0] : offsets[-1]]
        glued = ids.astype(np.int64) << 32
        glued |= np.repeat(np.arange(end - first), np.diff(offsets))
        glued.sort()
        begins = np.zeros(features + 1, dtype=np.int32)
        np.cumsum(np.bincount(ids, minlength=features), out=begins[1:])
        self.ids = torch.from_numpy(ids)
        self.offsets = torch.from_numpy((offsets - offsets[0]).astype(np.int32))
        self.texts = torch.from_numpy((glued & 0xFFFFFFFF).astype(np.int32))
        self.begins = torch.from_numpy(begins)
        self.classes = torch.from_numpy(data.classes[first:end])
        self.shrink = torch.empty(0)  # one over each text's length, once the idf is known

    def measure(self, idf: torch.Tensor) -> None:
        self.shrink = _sum_of((idf * idf)[:, None].contiguous(), self.ids, self.offsets).clamp_min(1e-12).rsqrt()


def _blocks(data: Encoded, features: int, classes: int) -> list[_Block]:
    made, first = [], 0
    while first < len(data):
        end = min(first + max(1, SCORES_AT_MOST // classes), len(data))
        fits = int(np.searchsorted(data.offsets, data.offsets[first] + CELLS_AT_MOST, side="right")) - 1
        end = max(first + 1, min(end, fits))
        made.append(_Block(data, first, end, features))
        first = end
    return made


class Fit:
    """The training, pass by pass. Its `state_dict` is all that a machine needs to go on from where another ended."""

    learnt_validation = True

    def __init__(self, train: Encoded, validation: Encoded, features: int, classes: int, knobs: Knobs) -> None:
        self._knobs, self._features, self._classes = knobs, features, classes
        # Of two classes the second one's log-odds say all; of more, each class has a score.
        self._columns = 1 if classes == 2 else classes
        self._train, self._validation = _blocks(train, features, classes), _blocks(validation, features, classes)
        seen = torch.from_numpy(np.bincount(train.ids, minlength=features)).float()
        self.idf = torch.log((1 + len(train)) / (1 + seen)) + 1
        for block in self._train + self._validation:
            block.measure(self.idf)
        self.smoothing = max(1.0, knobs.smoothing * len(train.ids) / max(1, len(train)))
        self._scale = self._scale_of(seen)
        self._parameters = torch.nn.Parameter(torch.zeros((features + 1) * self._columns))
        self._optimizer = self._new_optimizer()
        self._at = 0  # the place of the L2 strength at hand; behind the last one: the last fit, with all rows
        self._pass = 0  # passes made with it
        self.step = 0  # passes made in all
        self.losses: list[
            tuple[str, int, float]
        ] = []  # training a pass each, validation a strength each, then the last fit, of both
        self._loss = math.inf  # of training, after the last pass
        self.tried: list[tuple[float, float, float]] = []  # L2 strength, validation loss, temperature
        self._best = self._parameters.detach().clone()
        self.finished = False

    @property
    def share_done(self) -> float:
        """A guess, for people who wait: passes of this strength against those that the earlier ones took."""
        usual = self.step / len(self.tried) if self.tried else 10
        return (self._at + min(0.9, self._pass / usual)) / (len(self._knobs.l2) + 1)

    @property
    def best(self) -> float | None:
        return min((loss for _, loss, _ in self.tried), default=None)

    @property
    def remark(self) -> str:
        return f"L2 {self._strength:g}, loss {self._loss:.4f}"

    @property
    def _last(self) -> bool:
        return self._at == len(self._knobs.l2)

    @property
    def _won(self) -> tuple[float, float, float]:
        return min(self.tried, key=lambda each: each[1])

    @property
    def _strength(self) -> float:
        return self._won[0] if self._last else self._knobs.l2[self._at]

    def advance(self) -> None:
        """One pass: a few L-BFGS steps with the strength at hand; at its end, the validation."""
        before = self._loss if self._pass else math.inf
        self._optimizer.step(self._loss_and_gradient)  # type: ignore[no-untyped-call]
        loss = self._loss = float(self._loss_and_gradient())
        self._pass, self.step = self._pass + 1, self.step + 1
        self.losses.append(("last fit" if self._last else "training", self.step, loss))
        if self._pass < self._knobs.passes and before - loss > self._knobs.tolerance * abs(loss):
            return
        if self._last:
            self._best, self.finished = self._parameters.detach().clone(), True
        else:
            self._validate()
            self._next_strength()
        self._optimizer = self._new_optimizer()

    def _next_strength(self) -> None:
        losses = [loss for _, loss, _ in self.tried]
        self._at, self._pass = self._at + 1, 0
        if losses[-1] > min(losses):  # weaker ones only fit the noise
            self._at = len(self._knobs.l2)
        if self._last:
            with torch.no_grad():
                self._parameters.copy_(self._best)

    def weights(self) -> dict[str, torch.Tensor]:
        """The best model: what each feature adds to each class, before the text's length is normalised away."""
        l2, _, temperature = self._won
        weight, bias = self._table(self._best)
        return {
            "weight": (self._scores(weight) / temperature).contiguous(),
            "bias": self._scores(bias[None])[0] / temperature,
            "idf": self.idf.clone(),
            "temperature": torch.tensor(temperature, dtype=torch.float64),
            "l2": torch.tensor(l2, dtype=torch.float64),
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "parameters": self._parameters.detach(),
            "optimizer": self._optimizer.state_dict(),
            "best": self._best,
            "at": self._at,
            "pass": self._pass,
            "step": self.step,
            "loss": self._loss,
            "losses": self.losses,
            "tried": self.tried,
            "finished": self.finished,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            self._parameters.copy_(state["parameters"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._best, self._at, self._pass, self.step = state["best"], state["at"], state["pass"], state["step"]
        self._loss, self.finished = state["loss"], state["finished"]
        self.losses, self.tried = list(state["losses"]), list(state["tried"])

    def _new_optimizer(self) -> torch.optim.LBFGS:
        # No tolerance of its own: it would end a pass early by measures that know nothing of the loss.
        return torch.optim.LBFGS(
            [self._parameters],
            max_iter=self._knobs.steps_per_pass,
            history_size=self._knobs.history,
            tolerance_grad=0,
            tolerance_change=0,
            line_search_fn="strong_wolfe",
        )

    @torch.no_grad()
    def _validate(self) -> None:
        weight, bias = self._table(self._parameters)
        scores = torch.cat(
            [self._scores(_sum_of(weight, each.ids, each.offsets) * each.shrink + bias) for each in self._validation]
        )
        temperature, loss = calibrated(scores, torch.cat([block.classes for block in self._validation]))
        if self.best is None or loss < self.best:
            self._best = self._parameters.detach().clone()
        self.tried.append((self._strength, loss, temperature))
        self.losses.append(("validation", self.step, loss))

    @torch.no_grad()
    def _loss_and_gradient(self) -> torch.Tensor:
        blocks = self._train + (self._validation if self._last else [])
        rows = sum(len(block.classes) for block in blocks)
        l2 = self._strength / rows
        weight, bias = self._table(self._parameters)
        weights = self._parameters.view(-1, self._columns)[: self._features]
        gradient = torch.zeros(self._features + 1, self._columns)
        loss = l2 / 2 * (weights * weights).sum().double()
        for block in blocks:
            logs = self._scores(_sum_of(weight, block.ids, block.offsets) * block.shrink + bias).log_softmax(1)
            loss -= logs.gather(1, block.classes[:, None]).double().sum() / rows
            error = logs.exp()
            error[torch.arange(len(error)), block.classes] -= 1
            error = error[:, -self._columns :] / rows
            gradient[self._features] += error.sum(0)
            gradient[: self._features] += _sum_of((error * block.shrink).contiguous(), block.texts, block.begins)
        gradient[: self._features] *= self._scale
        gradient[: self._features] += l2 * weights
        self._parameters.grad = gradient.view(-1)
        return loss

    def _table(self, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What each feature adds to each column, and the bias.

        With strong L2 only the prior is left: plain Naive Bayes. It is the interpolation of Wang and Manning (ACL
        2012), as the mean that the penalty draws to.
        """
        table = parameters.detach().view(self._features + 1, self._columns)
        return (table[: self._features] + self._knobs.prior) * self._scale, table[self._features]

    def _scores(self, columns: torch.Tensor) -> torch.Tensor:
        """A score for each class: half the log-odds for one, half against the other, where there are two."""
        return torch.cat([-columns / 2, columns / 2], dim=1) if self._columns == 1 else columns

    def _scale_of(self, seen: torch.Tensor) -> torch.Tensor:
        """The log-count ratio of Naive Bayes, to a power so that the surest do not drown the others, times the idf."""
        within = torch.zeros(self._features, self._classes)
        for block in self._train:
            within += _sum_of(one_hot(block.classes, self._classes).float(), block.texts, block.begins)
        within = within[:, -self._columns :]
        inside, outside = within + self.smoothing, seen[:, None] - within + self.smoothing
        ratio = torch.log(inside / inside.sum(0)) - torch.log(outside / outside.sum(0))
        return ratio.sign() * ratio.abs() ** self._knobs.power * self.idf[:, None]
