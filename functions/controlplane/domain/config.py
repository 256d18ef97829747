"""How a dataset is trained: the stack's parameters, as they go into a run's spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SEED = 17


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
