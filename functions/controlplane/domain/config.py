"""How a dataset is trained: the stack's parameters, and what raw/<dataset>/tidegate.yaml says instead."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

SEED = 17
FILE_NAME = "tidegate.yaml"
LARGEST = 64 * 1024
RECIPES = ("linear", "transformer")
WHAT_TO_DO = f"Mend {FILE_NAME} and upload it again. Until then its last accepted version counts."
ReadYaml = Callable[[bytes], object]  # raises ValueError with the reason


class BadConfig(ValueError):
    """The file cannot be obeyed; the sentence says why."""


@dataclass(frozen=True)
class Config:
    """`encoder` is a key prefix in the bucket, for recipes that fine-tune one; a column None = found by itself."""

    recipe: str = "linear"
    knobs: Mapping[str, Any] = field(default_factory=dict)
    encoder: str = ""
    text_column: str | None = None
    label_column: str | None = None
    max_rejected_share: float = 0.05
    max_data_shift: float = 1.0

    @property
    def all_knobs(self) -> dict[str, Any]:
        """The knobs as the recipe gets them; the encoder is one, where there is something to fine-tune."""
        tunes = bool(self.encoder) and self.recipe != "linear"
        return {**({"encoder": self.encoder} if tunes else {}), **self.knobs}

    def overridden(self, document: str | None) -> Config:
        """With what an accepted tidegate.yaml says, in the form of `accepted`."""
        return replace(self, **json.loads(document)) if document else self


def is_config(key: str) -> bool:
    """raw/tidegate.yaml, or the one directly in a dataset's folder."""
    return re.fullmatch(rf"raw/(?:[^/]+/)?{re.escape(FILE_NAME)}", key) is not None


def accepted(content: bytes, read_yaml: ReadYaml, *, recipes: tuple[str, ...] | None = RECIPES) -> str:
    """What the file says, checked, as a JSON text. `recipes` None: any name is one. Raises BadConfig."""
    if len(content) > LARGEST:
        raise BadConfig(f"It is larger than {LARGEST // 1024} KiB.")
    try:
        told = read_yaml(content)
    except ValueError as fault:
        raise BadConfig(f"It is not YAML: {fault}") from fault
    if told is None:
        return "{}"
    if not isinstance(told, dict):
        raise BadConfig(f"It has to be a list of `key: value` lines with any of {_known()}.")
    for key, value in told.items():
        if key not in CHECKS:
            raise BadConfig(f"Nobody knows the key {json.dumps(str(key))[:80]}. Known are {_known()}.")
        if wanted := CHECKS[key](value):
            raise BadConfig(f"{key} has to be {wanted}, not {json.dumps(value, default=str)[:80]}.")
    if recipes and told.get("recipe", recipes[0]) not in recipes:
        raise BadConfig(f"recipe has to be one of {', '.join(recipes)}, not {told['recipe']}.")
    return json.dumps(told, ensure_ascii=False, sort_keys=True)


def _known() -> str:
    return ", ".join(CHECKS)


def _name(value: object) -> str:
    return "" if isinstance(value, str) and re.fullmatch(r"[a-z][a-z0-9_-]{0,39}", value) else "a recipe's name"


def _column(value: object) -> str:
    return "" if isinstance(value, str) and value.strip() else "the name of a column"


def _share(value: object) -> str:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    return "" if good else "a number from 0 to 1"


def _encoder(value: object) -> str:
    good = isinstance(value, str) and re.fullmatch(r"encoders/[A-Za-z0-9._/-]+/", value) and ".." not in value
    return "" if good else "a key prefix in the bucket such as encoders/minilm/"


def _knobs(value: object) -> str:
    good = isinstance(value, dict) and all(isinstance(name, str) and _is_plain(knob) for name, knob in value.items())
    return "" if good else "a list of `knob: value` lines (numbers, words, true, false, or lists of them)"


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(_is_plain(one) for one in value)
    return value is None or (isinstance(value, str | int | float) and (isinstance(value, str) or math.isfinite(value)))


CHECKS: Mapping[str, Callable[[object], str]] = {
    "recipe": _name,
    "knobs": _knobs,
    "encoder": _encoder,
    "text_column": _column,
    "label_column": _column,
    "max_rejected_share": _share,
    "max_data_shift": _share,
}
