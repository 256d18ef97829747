"""model-card.md: what a person should know of a model before trusting it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from trainer.dataset import Dataset
from trainer.spec import Spec

_SPLITS = {
    "text": "by a hash of each row's normalised text: 80 % train, 10 % validation, 10 % test. A text keeps its side "
    "when the dataset grows.",
    "file": "as it was given: the test rows are all rows of the test file; a tenth of the others, by a hash of the "
    "text, is for validation. A text that stands in both files is not trained on.",
    "class": "class by class, because so few rows would leave validation or test without two classes. Rows may change "
    "sides when the dataset grows, so a comparison with an earlier model is not on rows that both never saw.",
}

_LIMITS_OF_WORDS = (
    "- It sees which words and short runs of words a text has, not their order beyond that, and no irony.",
    "- A text without a known word gets the shares of the training rows, or near them: its confidence says so.",
)


def top_words(
    weights: dict[str, torch.Tensor], features: list[str], seen: torch.Tensor, count: int = 10
) -> list[list[str]]:
    """For each class the features that push towards it the most, over all training texts."""
    weight = weights["weight"]
    force = (weight - weight.mean(1, keepdim=True)) * seen.sqrt()[:, None]
    best = torch.topk(force, min(count, len(features)), dim=0).indices.T.tolist()
    return [[features[number] for number in each] for each in best]


def write(
    spec: Spec,
    dataset: Dataset,
    manifest: dict[str, Any],
    validation: dict[str, Any] | None,
    words: list[list[str]] | None,
    mistakes: list[dict[str, Any]],
    plots: list[str],
) -> str:
    rows, metrics, comparison = manifest["rows"], manifest["metrics"], manifest["comparison"]
    lines = [
        f"# Model {spec.run_id}",
        "",
        f"A text classifier for the dataset `{spec.dataset}`: {len(dataset.labels)} classes, recipe `{spec.recipe}`.",
        "",
        "## Data",
        "",
        f"{rows['accepted']:,} rows accepted, {rows['rejected']:,} refused, {rows['duplicates']:,} duplicates dropped. "
        f"{rows['train']:,} train, {rows['validation']:,} validation, {rows['test']:,} test.",
        "",
        f"Split {_SPLITS[dataset.split_by]}",
        "",
        *[f"- refused: {reason}, {count:,} rows" for reason, count in dataset.reasons.most_common()],
        *[
            f"- from `{each.key}` ({f'version `{each.version_id}`, ' if each.version_id else ''}{each.bytes:,} bytes)"
            for each in spec.objects[:50]
        ],
        *([f"- and {len(spec.objects) - 50:,} more files"] if len(spec.objects) > 50 else []),
        *(["", manifest["data_shift"]["sentence"]] if manifest["data_shift"] else []),
        "",
        "## How good it is",
        "",
        "| | test |"
        + (" validation |" if validation else "")
        + (f" champion {comparison['champion']} on test |" if comparison else ""),
        "|---|---|" + ("---|" if validation else "") + ("---|" if comparison else ""),
        *[
            f"| {name} | {metrics[key]:.4f} |"
            + (f" {validation[key]:.4f} |" if validation else "")
            + (f" {comparison['metrics'][key]:.4f} |" if comparison else "")
            for name, key in (
                ("accuracy", "accuracy"),
                ("always the commonest class", "majority_share"),
                ("macro F1", "macro_f1"),
                ("log loss, nats", "log_loss"),
                ("calibration error", "calibration_error"),
            )
        ],
        "",
    ]
    if comparison:
        lines += [
            f"Of the {metrics['rows']:,} test rows both had {comparison['both_right']:,} right "
            f"and {comparison['both_wrong']:,} wrong. "
            f"Only this model had {comparison['only_challenger_right']:,} right, "
            f"only the champion {comparison['only_champion_right']:,}.",
            "",
        ]
    shares = np.bincount(dataset.classes(0), minlength=len(dataset.labels)) / rows["train"]
    lines += [
        "## Classes",
        "",
        "| class | share of train | recall on test |" + (" words that push towards it |" if words else ""),
        "|---|---|---|" + ("---|" if words else ""),
    ]
    for number, label in enumerate(dataset.labels[:100]):
        recall = metrics["per_class_recall"][label]
        shown = "no test row" if recall is None else f"{recall:.3f}"
        pushing = f" {', '.join(map(_cell, words[number]))} |" if words else ""
        lines.append(f"| {_cell(label)} | {shares[number]:.1%} | {shown} |{pushing}")
    if mistakes:
        lines += ["", "Commonest mistakes:", ""]
        lines += [
            f"- {_cell(each['true'])} taken for {_cell(each['answered'])}: {each['rows']:,}" for each in mistakes[:5]
        ]
    resumed = "from the beginning" if manifest["resumed"] is None else f"from step {manifest['resumed']} on"
    lines += [
        "",
        "## Limits",
        "",
        *(_LIMITS_OF_WORDS if words else []),
        "- Its probabilities are honest on texts like those it was trained on; on others they are not.",
        *(f"- Texts are read to {read:,} tokens." for read in [manifest["knobs"].get("max_tokens")] if read),
        "",
        "## How it was made",
        "",
        *[f"- {name}: {value}" for name, value in manifest["knobs"].items()],
        f"- seed: {spec.seed}",
        f"- trainer: {manifest['trainer_version']}",
        f"- machine: {', '.join(manifest['machine'].values())}",
        f"- attempt {manifest['attempt']}, {resumed}, {manifest['seconds']:.1f} s to this card",
        f"- snapshot: {spec.snapshot_digest}",
        "",
        "## Plots",
        "",
        *[f"- `{plot}`" for plot in plots],
        "",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Safe inside a table: a label is data and may hold anything."""
    return "`" + " ".join(text.split()).replace("`", "'").replace("|", "\\|") + "`"
