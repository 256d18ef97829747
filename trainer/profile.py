"""What the training rows look like, and how far they differ from those of an earlier run.

The comparison is made before anything is fitted: data that has changed beyond the limit costs no training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.dataset import Dataset
from trainer.errors import Failed
from trainer.spec import Spec
from trainer.split import TRAIN
from trainer.store import Store

QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
SHOWN = 5  # labels in a sentence
WORTH_TELLING = 0.05  # a shift below this is not spoken of
Quantiles = dict[str, float]


def quantiles(values: npt.NDArray[Any]) -> Quantiles:
    found = np.quantile(values, QUANTILES)
    return {f"{share:g}": float(value) for share, value in zip(QUANTILES, found, strict=True)}


def of_rows(run_id: str, dataset: Dataset) -> dict[str, Any]:
    """The part of profile.json that needs no model."""
    classes = dataset.classes(TRAIN)
    shares = np.bincount(classes, minlength=len(dataset.labels)) / len(classes)
    return {
        "contract": 1,
        "run_id": run_id,
        "rows": len(classes),
        "class_shares": dict(zip(dataset.labels, shares.tolist(), strict=True)),
        "characters": quantiles(dataset.characters),
    }


def data_shift(store: Store, spec: Spec, dataset: Dataset, say: Callable[[str], None]) -> dict[str, Any] | None:
    """How the training rows differ from the baseline's. None where there is none. Raises Failed above the limit."""
    if spec.baseline is None:
        return None
    key = f"processed/{spec.baseline}/profile.json"
    try:
        found = shift(spec.baseline, store.get_json(key), of_rows(spec.run_id, dataset))
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        # An older run's profile may be cleared away, or another trainer's: that is no reason not to train.
        say(f"{key} is gone or cannot be read ({type(fault).__name__}): the data is not compared with that run's.")
        return None
    say(found["sentence"])
    if found["shift"] > spec.max_data_shift:
        raise Failed(
            f"The data has changed more than MaxDataShift allows ({found['shift']:.2f}, the limit is "
            f"{spec.max_data_shift:g}). {found['sentence']} Nothing was trained. If the change is meant, raise "
            "MaxDataShift, or max_data_shift in the dataset's tidegate.yaml, and drop again; if not, delete the file."
        )
    return found


def shift(baseline: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """How the rows of one profile differ from those of the baseline's, as the manifest tells it."""
    shares = [dict(each["class_shares"]) for each in (before, now)]
    labels = sorted({*shares[0], *shares[1]})
    moves = {label: shares[1].get(label, 0.0) - shares[0].get(label, 0.0) for label in labels}
    class_shift = min(1.0, sum(map(abs, moves.values())) / 2)
    length_shift = largest_gap(before["characters"], now["characters"])
    new, lost = ([label for label in labels if label not in each] for each in shares)
    told = [f"new label {_named(new)}"] if new else []
    told += [f"no more {_named(lost)}"] if lost else []
    label = max(moves, key=lambda each: (abs(moves[each]), each))
    if class_shift >= WORTH_TELLING and label in shares[0] and label in shares[1]:
        told.append(f"{label!r} went from {shares[0][label]:.1%} to {shares[1][label]:.1%} of the rows")
    if length_shift >= WORTH_TELLING:
        medians = [each["characters"]["0.5"] for each in (before, now)]
        told.append(f"the median length of a text went from {medians[0]:,.0f} to {medians[1]:,.0f} characters")
    return {
        "baseline": baseline,
        "shift": max(class_shift, length_shift),
        "class_shift": class_shift,
        "length_shift": length_shift,
        "new_labels": new,
        "lost_labels": lost,
        "sentence": f"Compared with the data of {baseline}: {'; '.join(told) or 'much the same'} "
        f"(class shift {class_shift:.2f}, length shift {length_shift:.2f}).",
    }


def _named(labels: list[str]) -> str:
    more = f" and {len(labels) - SHOWN:,} others" if len(labels) > SHOWN else ""
    return ", ".join(repr(label[:40]) for label in labels[:SHOWN]) + more


def largest_gap(one: Quantiles, other: Quantiles) -> float:
    """The largest difference of two distributions (Kolmogorov-Smirnov), from their quantiles.

    From one quantile to the next a distribution is taken to rise in a straight line, and to jump where several are the
    same value; so the largest difference is just before or just after one of them.
    """
    places = np.array(sorted({*one.values(), *other.values()}), dtype=np.float64)
    return max(
        float(np.abs(_below(one, places, jumped) - _below(other, places, jumped)).max()) for jumped in (False, True)
    )


def _below(told: Quantiles, places: npt.NDArray[np.float64], jumped: bool) -> npt.NDArray[np.float64]:
    """The share of values below each place; `jumped`: or at it."""
    points = sorted((float(share), value) for share, value in told.items())
    shares, values = (np.array(each, dtype=np.float64) for each in zip(*points, strict=True))
    after = np.searchsorted(values, places, "right" if jumped else "left")
    low, high = np.clip(after - 1, 0, None), np.clip(after, None, len(values) - 1)
    width = np.where(values[high] > values[low], values[high] - values[low], 1)
    risen = shares[low] + (places - values[low]) / width * (shares[high] - shares[low])
    return np.where(after == 0, 0.0, np.where(after == len(values), 1.0, risen))
