"""The recipe `linear` on rows that are awkward: a sane model and honest probabilities, from made-up texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.scenarios import Row, Scenario, awkward, by_class, many_classes
from trainer import export, ngrams
from trainer.evaluate import Answers, ask, metrics
from trainer.features import STRIP_PATTERN, TOKEN_PATTERN, Featurizer
from trainer.linear_fit import Fit
from trainer.linear_knobs import Knobs
from trainer.model_files import Model

RULES = Featurizer(STRIP_PATTERN, True, TOKEN_PATTERN, 4_000, (1, 2, 3))
SCENARIOS = {scenario.name: scenario for scenario in awkward(1_500, seed=3)}
SCENARIOS["1:50"] = many_classes("1:50", 2, 4_000, seed=3, rare=50)  # some 60 rows of the rare class


def trained(rows: list[Row], folder: Path) -> Model:
    """From rows to a model that is read back from its files; every fifth row validates."""
    labels = sorted({label for _, label in rows})
    classes = np.array([labels.index(label) for _, label in rows])
    validates = np.arange(len(rows)) % 5 == 0
    texts = [text for text, _ in rows]
    words, reader = ngrams.Words(), ngrams.Reader(RULES, folder, 10**7)
    train = reader.training([texts[each] for each in np.flatnonzero(~validates)], np.zeros(len(rows)), words)
    validation = reader.validation([texts[each] for each in np.flatnonzero(validates)], np.zeros(len(rows)), words)
    knobs = Knobs(threads=1)
    vocabulary = ngrams.learn(train, words, 3, knobs.min_count, knobs.max_features)
    for size in (1, 2, 3):
        ngrams.number(validation, vocabulary.tables, size)
    fit = Fit(
        ngrams.encode(train, vocabulary, classes[~validates]),
        ngrams.encode(validation, vocabulary, classes[validates]),
        len(vocabulary.features),
        len(labels),
        knobs,
    )
    while not fit.finished:
        fit.advance()
    export.write_model(folder, fit.weights(), vocabulary.features, labels, RULES)
    return Model(folder, threads=1)


def asked(model: Model, rows: list[Row]) -> Answers:
    classes = np.array([model.labels.index(label) for _, label in rows])
    return ask(model, [text for text, _ in rows], classes, model.labels)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_awkward_rows_give_a_sane_and_honest_model(name: str, tmp_path: Path) -> None:
    scenario: Scenario = SCENARIOS[name]
    answers = asked(trained(scenario.train, tmp_path), scenario.test)
    found = metrics(answers)
    assert found["accuracy"] > found["majority_share"]
    assert found["macro_f1"] > (0.8 if len(scenario.train) > 1_000 and name != "1:50" else 0.6)
    shares = np.unique([label for _, label in scenario.train], return_counts=True)[1] / len(scenario.train)
    assert found["log_loss"] < 0.8 * -(shares * np.log(shares)).sum()  # of guessing by the classes' shares
    sure = answers.confidence.mean()
    assert found["accuracy"] == pytest.approx(sure, abs=0.2 if name == "200 rows" else 0.08)


def test_rows_sorted_by_class_teach_the_same(tmp_path: Path) -> None:
    scenario = SCENARIOS["German"]
    found = []
    for name, rows in (("as they come", scenario.train), ("sorted", by_class(scenario.train))):
        (tmp_path / name).mkdir()
        found.append(asked(trained(rows, tmp_path / name), scenario.test).right.mean())
    assert found[0] == pytest.approx(found[1], abs=0.03)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        trained(SCENARIOS["200 rows"].train, tmp_path / name)
        made.append([(tmp_path / name / file).read_bytes() for file in ("model.onnx", "model.pt", "vocabulary.txt")])
    assert made[0] == made[1]
