"""Three pictures of a fit, and its TensorBoard events: how the loss fell, who is taken for whom, how honest it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from torch.utils.tensorboard import SummaryWriter

from trainer.recipe import History

_BLUE, _ORANGE, _GREY = "#2463a6", "#d9730d", "#8a8a8a"
_COLOURS = (_BLUE, _ORANGE, "#3d8b5f", "#8e5ea2")
_LONGEST_NAME = 18


def draw(
    folder: Path,
    fit: History,
    resumed: list[int],
    confusion: dict[str, Any],
    bins: list[tuple[float, float, float]],
    error: float,
) -> list[Path]:
    """loss.png, confusion.png and calibration.png, in this order. `resumed`: the steps that it went on from."""
    folder.mkdir()
    pictures = {
        "loss": _loss(fit, resumed),
        "confusion": _confusion(confusion),
        "calibration": _calibration(bins, error),
    }
    for name, picture in pictures.items():
        FigureCanvasAgg(picture)
        picture.savefig(folder / f"{name}.png", dpi=130)
    return [folder / f"{name}.png" for name in pictures]


def write_events(folder: Path, fit: History) -> list[Path]:
    """The same losses for TensorBoard."""
    with SummaryWriter(str(folder)) as writer:
        for curve, step, loss in fit.losses:
            writer.add_scalar(f"loss/{curve}", loss, step)
    return sorted(folder.iterdir())


def _axes(title: str, size: tuple[float, float] = (7.0, 4.2)) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _loss(fit: History, resumed: list[int]) -> Figure:
    figure, axes = _axes("Loss by step")
    curves: dict[str, list[tuple[int, float]]] = {}
    for curve, step, loss in fit.losses:
        curves.setdefault(curve, []).append((step, loss))
    for number, (curve, points) in enumerate(curves.items()):
        few = len(points) <= 60
        axes.plot(
            *zip(*points, strict=True), color=_COLOURS[number % len(_COLOURS)], label=curve, marker="." if few else ""
        )
    if validation := curves.get("validation"):
        step, loss = min(validation, key=lambda point: point[1])
        axes.plot(step, loss, "o", markersize=12, markerfacecolor="none", markeredgecolor=_ORANGE)
        axes.annotate(
            f"best: {loss:.3f}",
            (step, loss),
            xytext=(0, 14),
            textcoords="offset points",
            ha="right" if step > fit.step / 2 else "left",
            color=_ORANGE,
        )
    for number, step in enumerate(resumed):
        label = "went on after an interruption" if number == 0 else None
        axes.axvline(step, ymax=0.88, color=_GREY, linewidth=1, linestyle=":", label=label)
    highest = max((loss for _, _, loss in fit.losses), default=1.0)
    axes.set(xlabel="step", ylabel="nats per row", ylim=(0, 1.3 * highest))  # room for the words above the lines
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, loc="upper right", ncols=3)
    return figure


def _confusion(confusion: dict[str, Any]) -> Figure:
    counts = np.array(confusion["counts"], dtype=float)
    size = len(counts)
    side = min(11.0, 3.6 + 0.42 * size)
    figure, axes = _axes("Test rows: true class (down) and answer (across)", (side + 1.0, side))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, format=PercentFormatter(1), label="share of the true class", shrink=0.8)
    names = [_drawable(name, number) for number, name in enumerate(confusion["labels"])]
    axes.set_xticks(range(size), names, rotation=45 if size > 4 else 0, ha="right" if size > 4 else "center")
    axes.set_yticks(range(size), names)
    axes.set(xlabel="answer", ylabel="true class")
    for true in range(size):
        for given in range(size):
            if counts[true, given]:
                colour = "white" if shares[true, given] > 0.55 else "black"
                fits = 8 if size > 8 else 11
                axes.text(
                    given, true, f"{int(counts[true, given]):,}", ha="center", va="center", color=colour, fontsize=fits
                )
    return figure


def _calibration(bins: list[tuple[float, float, float]], error: float) -> Figure:
    figure, axes = _axes(f"Calibration on the test rows: expected error {error:.3f}", (5.6, 5.0))
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--", label="honest")
    right, sure, weight = (np.array(each) for each in zip(*bins, strict=True))
    axes.plot(sure, right, color=_BLUE, linewidth=1)
    axes.scatter(sure, right, s=25 + 900 * weight, color=_BLUE, alpha=0.6, label="this model (area: share of rows)")
    axes.set(
        xlabel="mean confidence of the answers", ylabel="share of them that is right", xlim=(0, 1.03), ylim=(0, 1.05)
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    legend = axes.legend(frameon=False, loc="upper left")
    for handle in legend.legend_handles[1:]:
        handle.set_sizes([60])  # type: ignore[union-attr]
    return figure


def _drawable(name: str, number: int) -> str:
    """The label, or its number where the font has no letters for it."""
    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    if not all(ord(letter) in font.get_charmap() for letter in name):
        return f"class {number}"
    shown = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
    return shown.replace("$", r"\$")
