"""The fit: knobs, the choice of the strength, calibration, and going on from any pass."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch

from trainer.calibrate import calibrated
from trainer.errors import Failed
from trainer.features import Encoded
from trainer.linear_fit import Fit
from trainer.linear_knobs import Knobs


def made_up(rows: int, classes: int, seed: int) -> Encoded:
    """Rows of 60 features, of which each class likes some."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    ids, offsets = [], [0]
    for label in labels:
        liked = (label * 7 + random.integers(0, 7, 3)) % 60
        drawn = np.unique(np.concatenate([liked, random.integers(0, 60, 6)]))
        ids.append(drawn)
        offsets.append(offsets[-1] + len(drawn))
    return Encoded(np.concatenate(ids).astype(np.int32), np.array(offsets, np.int64), labels.astype(np.int64))


def new_fit(classes: int = 2) -> Fit:
    return Fit(made_up(200, classes, 1), made_up(60, classes, 2), 60, classes, Knobs(threads=1, steps_per_pass=2))


def finish(fit: Fit) -> dict[str, torch.Tensor]:
    while not fit.finished:
        fit.advance()
    return fit.weights()


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: dict[str, Any] = torch.load(buffer, weights_only=True)
    return loaded


@pytest.mark.resume
@pytest.mark.parametrize("classes", [2, 5])
def test_a_fit_that_moves_to_another_machine_after_every_pass_ends_in_the_same_weights(classes: int) -> None:
    whole = finish(new_fit(classes))
    fit = new_fit(classes)
    moves = 0
    while not fit.finished:
        fit.advance()
        following = new_fit(classes)
        following.load_state_dict(through_a_file(fit.state_dict()))
        fit, moves = following, moves + 1
    assert moves > 10
    for name, weights in fit.weights().items():
        assert torch.equal(weights, whole[name]), name


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    fit = new_fit(3)
    torch.manual_seed(0)
    start = torch.randn_like(fit._parameters) / 10
    with torch.no_grad():
        fit._parameters.copy_(start)
    fit._loss_and_gradient()
    assert fit._parameters.grad is not None
    gradient = fit._parameters.grad.clone()
    for place in (0, 17, 100, len(start) - 1):
        sides = []
        for step in (1e-2, -1e-2):
            with torch.no_grad():
                fit._parameters.copy_(start)
                fit._parameters[place] += step
            sides.append(float(fit._loss_and_gradient()))
        assert float(gradient[place]) == pytest.approx((sides[0] - sides[1]) / 2e-2, rel=2e-2, abs=1e-5)


def test_many_small_blocks_give_the_same_loss_and_gradient_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    one = new_fit(4)
    monkeypatch.setattr("trainer.linear_fit.SCORES_AT_MOST", 4 * 33)
    many = new_fit(4)
    assert len(many._train) == 7
    for fit in (one, many):
        with torch.no_grad():
            fit._parameters.copy_(torch.linspace(-1, 1, len(fit._parameters)))
    assert float(one._loss_and_gradient()) == pytest.approx(float(many._loss_and_gradient()), rel=1e-6)
    assert one._parameters.grad is not None and many._parameters.grad is not None
    assert torch.allclose(one._parameters.grad, many._parameters.grad, atol=1e-6)


def test_the_strength_with_the_best_validation_loss_wins() -> None:
    fit = new_fit()
    weights = finish(fit)
    best = min(fit.tried, key=lambda each: each[1])
    assert float(weights["l2"]) == best[0]
    assert float(weights["temperature"]) == best[2]


def test_too_sure_scores_are_cooled_down_and_too_timid_ones_warmed_up() -> None:
    torch.manual_seed(1)
    honest = torch.randn(4_000, 3) * 2
    classes = torch.distributions.Categorical(logits=honest).sample()  # type: ignore[no-untyped-call]
    for factor in (0.5, 1.0, 3.0):
        temperature, _ = calibrated(honest * factor, classes)
        assert temperature == pytest.approx(factor, rel=0.1)


def test_a_few_rows_that_are_all_right_do_not_make_it_certain() -> None:
    temperature, _ = calibrated(torch.tensor([[1.0, 0.0]] * 3), torch.tensor([0, 0, 0]))
    assert 0.1 < temperature < 1


def test_knobs_are_the_defaults_with_what_is_given() -> None:
    assert Knobs.of({}) == Knobs()
    assert Knobs.of({"passes": 3, "l2": [0.1, 1]}) == Knobs(passes=3, l2=(1.0, 0.1))


@pytest.mark.parametrize("given", [{"passes": "3"}, {"passes": True}, {"ngrams": 1.5}, {"l2": [0]}, {"smoothing": -1}])
def test_a_senseless_knob_is_told_by_its_name(given: dict[str, Any]) -> None:
    with pytest.raises(Failed, match=f"Knob '{next(iter(given))}' must be"):
        Knobs.of(given)
