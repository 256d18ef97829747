"""The recipe `linear`: Naive Bayes and logistic regression over n-grams, the strongest of the fast ones.

A text is the set of its n-grams, each weighted by its rarity (idf) and by how much more often it stands in one class
than in the others (log-count ratio), the text's length normalised away. A softmax regression over these is trained
with full-batch L-BFGS, once per L2 strength from strong to weak, each starting from the last; the strength with the
best validation loss wins, and a temperature fitted on validation makes its probabilities honest.

Known downside: word order beyond the n-gram is not seen. Every sum is made in an order that does not depend on the
number of threads, and `threads` is fixed for those that are left to the libraries, so that the same rows give
the same weights and a resumed fit ends as one never interrupted.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from trainer import card, export
from trainer.dataset import Dataset
from trainer.errors import Failed
from trainer.features import STRIP_PATTERN, TOKEN_PATTERN, Encoded, Encoder, Featurizer, count, encoded, vocabulary
from trainer.recipe import LoopKnobs, Work
from trainer.split import TRAIN, VALIDATION

# Bounds the model's file (48 MB) and the memory: with many classes the vocabulary becomes smaller.
WEIGHTS_AT_MOST = 12_000_000
# Bounds the scores that are in memory at once.
SCORES_AT_MOST = 4_000_000


@dataclass(frozen=True)
class Knobs(LoopKnobs):
    ngrams: int = 2  # a feature is a run of at most so many words
    min_count: int = 1  # a feature must stand in so many training texts
    max_features: int = 300_000  # the commonest ones are kept
    max_tokens: int = 4_000  # of a longer text only the beginning is read
    smoothing: float = 1.0  # added to each count before the log-count ratio
    prior: float = 0.5  # weights are drawn towards this much of Naive Bayes, not towards 0: rare words keep their say
    l2: tuple[float, ...] = (
        3.0,
        1.0,
        0.3,
        0.1,
        0.03,
        0.01,
        0.003,
    )  # strengths to try, strong to weak, shared out over the rows
    passes: int = 40  # at most, for each strength
    steps_per_pass: int = 5  # L-BFGS steps between two possible checkpoints
    history: int = 6  # steps that L-BFGS remembers
    tolerance: float = 1e-4  # a pass that lowers the loss by a smaller share is the last
    max_cells: int = 200_000_000  # features of all training texts together; above it, a fixed share of the rows trains

    @classmethod
    def of(cls, given: dict[str, Any]) -> Knobs:
        """The defaults, with what the spec gives. Raises Failed for an unknown knob or a senseless value."""
        defaults = asdict(cls())
        if unknown := sorted(set(given) - set(defaults)):
            raise Failed(
                f"Unknown knob {', '.join(map(repr, unknown))}; recipe 'linear' knows {', '.join(sorted(defaults))}."
            )
        return cls(
            **{field.name: _checked(field.name, given.get(field.name, defaults[field.name])) for field in fields(cls)}
        )


_AT_LEAST = {
    "smoothing": 1e-6,
    "prior": 0.0,
    "tolerance": 0.0,
    "save_every_s": 0.0,
    "hours_between_interruptions": 0.01,
}


def _checked(name: str, value: Any) -> Any:
    if name == "l2":
        if isinstance(value, list | tuple) and value and all(_number(each) and each > 0 for each in value):
            return tuple(sorted((float(each) for each in value), reverse=True))
        raise Failed(f"Knob 'l2' must be a list of numbers above 0, not {value!r}.")
    if name in _AT_LEAST:
        if _number(value) and value >= _AT_LEAST[name]:
            return float(value)
        raise Failed(f"Knob {name!r} must be a number of at least {_AT_LEAST[name]:g}, not {value!r}.")
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise Failed(f"Knob {name!r} must be a whole number of at least 1, not {value!r}.")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _sum_of(rows: torch.Tensor, ids: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """For each bag of ids the sum of those rows: both the forward and the backward product of a sparse 0/1 matrix."""
    return embedding_bag(ids, rows, offsets, mode="sum", include_last_offset=True)


class _Block:
    """Some of the texts, with the same matrix the other way round: for each feature the texts that have it."""

    def __init__(self, data: Encoded, first: int, last: int, features: int, idf: torch.Tensor) -> None:
        offsets = data.offsets[first : last + 1]
        ids = data.ids[offsets[0] : offsets[-1]]
        text_of = np.repeat(np.arange(last - first, dtype=np.int32), np.diff(offsets))
        begins = np.zeros(features + 1, dtype=np.int32)
        np.cumsum(np.bincount(ids, minlength=features), out=begins[1:])
        self.ids, self.offsets = torch.from_numpy(ids), torch.from_numpy(offsets - offsets[0])
        self.texts, self.begins = torch.from_numpy(text_of[np.argsort(ids, kind="stable")]), torch.from_numpy(begins)
        self.classes = torch.from_numpy(data.classes[first:last])
        self.shrink = _sum_of((idf * idf)[:, None].contiguous(), self.ids, self.offsets).clamp_min(1e-12).rsqrt()


def _blocks(data: Encoded, features: int, classes: int, idf: torch.Tensor) -> list[_Block]:
    size = max(1, SCORES_AT_MOST // classes)
    return [_Block(data, at, min(at + size, len(data)), features, idf) for at in range(0, len(data), size)]


class Fit:
    """The training, pass by pass. Its `state_dict` is all that a machine needs to go on from where another ended."""

    def __init__(self, train: Encoded, validation: Encoded, features: int, classes: int, knobs: Knobs) -> None:
        self._knobs, self._shape, self._rows = knobs, (features, classes), len(train)
        seen = torch.from_numpy(np.bincount(train.ids, minlength=features)).float()
        self.idf = torch.log((1 + len(train)) / (1 + seen)) + 1
        self._train = _blocks(train, features, classes, self.idf)
        self._validation = _blocks(validation, features, classes, self.idf)
        self._scale = self._log_count_ratio(seen) * self.idf[:, None]
        self._parameters = torch.nn.Parameter(torch.zeros((features + 1) * classes))
        self._optimizer = self._new_optimizer()
        self._at = 0  # the place of the L2 strength at hand
        self._pass = 0  # passes made with it
        self.step = 0  # passes made in all
        self.losses: list[tuple[str, int, float]] = []  # training a pass each, validation a strength each
        self._loss = math.inf  # of training, after the last pass
        self.tried: list[tuple[float, float, float]] = []  # (L2 strength, validation loss, temperature)
        self._best = self._parameters.detach().clone()

    @property
    def share_done(self) -> float:
        """A guess, for people who wait: passes of this strength against those that the earlier ones took."""
        usual = self.step / self._at if self._at else 10
        return (self._at + min(0.9, self._pass / usual)) / len(self._knobs.l2)

    @property
    def finished(self) -> bool:
        # Two strengths in a row that are worse than the best: weaker ones only fit the noise.
        losses = [loss for _, loss, _ in self.tried]
        return self._at == len(self._knobs.l2) or (len(losses) >= 3 and min(losses[-2:]) > min(losses))

    @property
    def best(self) -> float | None:
        return min((loss for _, loss, _ in self.tried), default=None)

    @property
    def remark(self) -> str:
        return f"L2 {self._knobs.l2[min(self._at, len(self._knobs.l2) - 1)]:g}, loss {self._loss:.4f}"

    def advance(self) -> None:
        """One pass: a few L-BFGS steps with the strength at hand; at its end, the validation."""
        before = self._loss if self._pass else math.inf
        strength = self._knobs.l2[self._at]
        self._optimizer.step(self._loss_and_gradient)  # type: ignore[no-untyped-call]
        loss = self._loss = float(self._loss_and_gradient())
        self._pass, self.step = self._pass + 1, self.step + 1
        self.losses.append(("training", self.step, loss))
        if self._pass < self._knobs.passes and before - loss > self._knobs.tolerance * abs(loss):
            return
        scores, classes = self._validation_scores()
        temperature, validation_loss = calibrated(scores, classes)
        if not self.tried or validation_loss < min(loss for _, loss, _ in self.tried):
            self._best = self._parameters.detach().clone()
        self.tried.append((strength, validation_loss, temperature))
        self.losses.append(("validation", self.step, validation_loss))
        self._at, self._pass = self._at + 1, 0
        self._optimizer = self._new_optimizer()

    def weights(self) -> dict[str, torch.Tensor]:
        """The best model: what each feature adds to each class, before the text's length is normalised away."""
        features, classes = self._shape
        strength, _, temperature = min(self.tried, key=lambda each: each[1])
        best = self._best.view(features + 1, classes)
        return {
            "weight": (self._effective(best[:features]) / temperature).contiguous(),
            "bias": best[features] / temperature,
            "idf": self.idf.clone(),
            "temperature": torch.tensor(temperature, dtype=torch.float64),
            "l2": torch.tensor(strength, dtype=torch.float64),
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
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            self._parameters.copy_(state["parameters"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._best, self._at, self._pass, self.step = state["best"], state["at"], state["pass"], state["step"]
        self._loss = state["loss"]
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
    def _loss_and_gradient(self) -> torch.Tensor:
        features, classes = self._shape
        table = self._parameters.view(features + 1, classes)
        weights, bias = table[:features], table[features]
        l2 = self._knobs.l2[self._at] / self._rows
        gradient = torch.zeros_like(table)
        loss = l2 / 2 * (weights * weights).sum().double()
        effective = self._effective(weights)
        for block in self._train:
            logs = (_sum_of(effective, block.ids, block.offsets) * block.shrink + bias).log_softmax(1)
            loss -= logs.gather(1, block.classes[:, None]).double().sum() / self._rows
            error = logs.exp()
            error[torch.arange(len(error)), block.classes] -= 1
            error /= self._rows
            gradient[features] += error.sum(0)
            gradient[:features] += _sum_of(error * block.shrink, block.texts, block.begins)
        gradient[:features] *= self._scale
        gradient[:features] += l2 * weights
        self._parameters.grad = gradient.view(-1)
        return loss

    @torch.no_grad()
    def _validation_scores(self) -> tuple[torch.Tensor, torch.Tensor]:
        features, classes = self._shape
        table = self._parameters.view(features + 1, classes)
        effective = self._effective(table[:features])
        scores = [
            _sum_of(effective, block.ids, block.offsets) * block.shrink + table[features] for block in self._validation
        ]
        return torch.cat(scores), torch.cat([block.classes for block in self._validation])

    def _effective(self, weights: torch.Tensor) -> torch.Tensor:
        """What each feature adds; the L2 penalty holds `weights`, so with strong L2 plain Naive Bayes is left.

        The interpolation of Wang and Manning (ACL 2012), as the mean that the penalty draws to.
        """
        return (weights + self._knobs.prior) * self._scale

    def _log_count_ratio(self, seen: torch.Tensor) -> torch.Tensor:
        features, classes = self._shape
        within = torch.zeros(features, classes)
        for block in self._train:
            within += _sum_of(torch.nn.functional.one_hot(block.classes, classes).float(), block.texts, block.begins)
        inside, outside = within + self._knobs.smoothing, seen[:, None] - within + self._knobs.smoothing
        return torch.log(inside / inside.sum(0)) - torch.log(outside / outside.sum(0))


def calibrated(scores: torch.Tensor, classes: torch.Tensor) -> tuple[float, float]:
    """The temperature that makes these scores the most honest, and the mean loss with it.

    A mild preference for temperature 1 (as much as one row has to say) keeps a handful of rows from making it extreme.
    """

    def loss(log_temperature: float) -> float:
        logs = (scores / math.exp(log_temperature)).log_softmax(1)
        return -float(logs.gather(1, classes[:, None]).double().mean())

    best = _minimum(lambda at: loss(at) + at * at / 2 / len(classes), -2.5, 2.5)
    return math.exp(best), loss(best)


def _minimum(function: Callable[[float], float], low: float, high: float) -> float:
    """Golden-section search: where a function with one valley is lowest."""
    golden = (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(40):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = function(right)
    return (low + high) / 2


@dataclass(frozen=True)
class Task:
    """What the fit learns from."""

    featurizer: Featurizer
    features: list[str]
    classes: int
    train: Encoded
    validation: Encoded
    seen: torch.Tensor  # in how many training texts each feature stands


def prepare(dataset: Dataset, knobs: Knobs, seed: int, work: Work) -> Task:
    """Count the training texts' n-grams, keep the commonest, and encode the texts with them."""
    featurizer = Featurizer(STRIP_PATTERN, True, TOKEN_PATTERN, knobs.max_tokens, tuple(range(1, knobs.ngrams + 1)))
    rows = dataset.rows_by_part()
    work.journal.phase("training", "rows", 2 * rows["train"] + rows["validation"])
    watched = work.watched(2 * rows["train"] + rows["validation"], "nothing new is saved, the features are made again")
    counts = count(watched(dataset.texts(TRAIN)), featurizer)
    features = vocabulary(counts, knobs.min_count, min(knobs.max_features, WEIGHTS_AT_MOST // len(dataset.labels)))
    if not features:
        raise Failed(
            f"No word stands in {knobs.min_count} training texts: there is nothing to learn from. Lower 'min_count'."
        )
    cells = sum(counts[feature] for feature in features)
    del counts
    keep = np.random.default_rng(seed).random(rows["train"]) < knobs.max_cells / cells
    if not keep.all():
        work.journal.say(f"too much for {knobs.max_cells:,} cells: {int(keep.sum()):,} of the training rows are used")
    encoder = Encoder(featurizer, features)
    train = encoded(watched(dataset.texts(TRAIN)), dataset.classes(TRAIN), encoder, keep)
    classes = dataset.classes(VALIDATION)
    validation = encoded(watched(dataset.texts(VALIDATION)), classes, encoder, np.ones(len(classes), dtype=np.bool_))
    seen = torch.from_numpy(np.bincount(train.ids, minlength=len(features))).float()
    work.journal.say(f"features: {len(features):,} n-grams, {len(train.ids):,} in {len(train):,} training texts")
    return Task(featurizer, features, len(dataset.labels), train, validation, seen)


def new_fit(task: Task, knobs: Knobs) -> Fit:
    return Fit(task.train, task.validation, len(task.features), task.classes, knobs)


def write_model(folder: Path, task: Task, fit: Fit, dataset: Dataset) -> None:
    export.write_model(folder, fit.weights(), task.features, dataset.labels, task.featurizer)


def fingerprint(task: Task) -> str:
    return hashlib.sha256("\n".join(task.features).encode()).hexdigest()


def words(task: Task, fit: Fit) -> list[list[str]]:
    return card.top_words(fit.weights(), task.features, task.seen)


def profile_features(task: Task) -> tuple[dict[str, float], int, list[dict[str, Any]]]:
    commonest = [number for number, feature in enumerate(task.features) if " " not in feature][:50]
    tokens = [{"token": task.features[each], "share": float(task.seen[each]) / len(task.train)} for each in commonest]
    lengths = np.diff(task.train.offsets)
    quantiles = {f"{share:g}": float(np.quantile(lengths, share)) for share in (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)}
    return quantiles, len(task.features), tokens
