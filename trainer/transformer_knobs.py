"""The knobs of the recipe `transformer`, and which values of them make sense."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from trainer.errors import Failed
from trainer.recipe import LoopKnobs


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
