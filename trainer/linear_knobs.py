"""What one may set of the recipe `linear`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from trainer.errors import Failed
from trainer.recipe import LoopKnobs


@dataclass(frozen=True)
class Knobs(LoopKnobs):
    ngrams: int = 3  # a feature is a run of at most so many words
    min_count: int = 1  # a feature must stand in so many training texts
    max_features: int = 1_200_000  # the commonest ones are kept; those seen once only where there is room for all
    max_tokens: int = 4_000  # of a longer text only the beginning is read
    # Added to each count before the log-count ratio, for each feature that a text has on average (at least 1 in all):
    # a rare word among many is seldom why the text has its label.
    smoothing: float = 0.02
    power: float = 0.75  # a feature is scaled by its log-count ratio to this power; 0 forgets Naive Bayes
    prior: float = 0.5  # weights are drawn towards this much of Naive Bayes, not towards 0: rare words keep their say
    # Strengths to try, strong to weak, shared out over the rows. Weaker ones learn by heart what belongs to one film
    # or product; validation rows speak of the same ones and like it, rows about new ones do not.
    l2: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03)
    passes: int = 40  # at most, for each strength
    steps_per_pass: int = 5  # L-BFGS steps between two possible checkpoints
    history: int = 6  # steps that L-BFGS remembers
    tolerance: float = 1e-3  # a pass that lowers the loss by a smaller share is the last
    max_words: int = 20_000_000  # of the training texts together, else a fixed share of the rows trains; bounds memory

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
    "smoothing": 0.0,
    "power": 0.0,
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
