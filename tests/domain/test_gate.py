"""Does the challenger replace the champion? Each reason to refuse, and the paired test behind it."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from controlplane.domain.gate import EXACT_UP_TO, Policy, decide, mcnemar_p
from controlplane.domain.models import Comparison, Metrics, Model

POLICY = Policy(min_gain=0.002, max_p=0.05, max_class_loss=0.05, max_calibration_loss=0.02)
BEFORE = Metrics(1000, 0.80, 0.5, 0.03, {"neg": 0.8, "pos": 0.8})
AFTER = Metrics(1000, 0.84, 0.5, 0.03, {"neg": 0.84, "pos": 0.84})


def challenger(metrics: Metrics = AFTER, wins: int = 60, losses: int = 20, before: Metrics = BEFORE) -> Model:
    comparison = Comparison("champ", before, wins, losses, 1000)
    made = datetime(2026, 1, 1, tzinfo=UTC)
    return Model("new", "films", "sha256:0", metrics, comparison, "0", 10000, 0, "linear", 21.4, made, False, 1)


class TestMcNemar:
    @pytest.mark.parametrize(
        ("wins", "losses", "p"),
        [
            (0, 0, 1.0),
            (1, 0, 1.0),
            (5, 0, 2 / 32),
            (0, 6, 2 / 64),
            (10, 2, 158 / 4096),
            (7, 7, 1.0),
            (9, 3, 2 * (1 + 12 + 66 + 220) / 4096),
        ],
    )
    def test_few_disagreements_are_counted_exactly(self, wins: int, losses: int, p: float) -> None:
        assert mcnemar_p(wins, losses) == pytest.approx(p, rel=1e-12)

    def test_it_is_the_same_from_both_sides(self) -> None:
        assert mcnemar_p(31, 12) == mcnemar_p(12, 31)
        assert mcnemar_p(900, 300) == mcnemar_p(300, 900)

    def test_many_disagreements_are_a_chi_square_with_continuity_correction(self) -> None:
        # (|600 - 500| - 1)^2 / 1100 = 8.91; the upper tail of one degree of freedom is 2 (1 - Phi(sqrt(8.91))).
        assert mcnemar_p(600, 500) == pytest.approx(2 * 0.5 * math.erfc(math.sqrt(8.91) / math.sqrt(2)))
        assert mcnemar_p(600, 500) == pytest.approx(0.002836, abs=2e-6)

    @pytest.mark.parametrize("losses", [440, 460, 480, 499])
    def test_exact_and_chi_square_agree_where_one_takes_over_from_the_other(self, losses: int) -> None:
        exact = mcnemar_p(EXACT_UP_TO - losses, losses)
        approximate = mcnemar_p(EXACT_UP_TO - losses + 1, losses)
        neighbour = mcnemar_p(EXACT_UP_TO - losses - 1, losses)
        assert abs(approximate - exact) <= 1.1 * abs(exact - neighbour) + 1e-4

    def test_a_great_many_rows_are_no_trouble(self) -> None:
        assert mcnemar_p(10**7, 10**7) == pytest.approx(1.0, abs=1e-3)
        assert mcnemar_p(10**7, 10**6) == 0.0


class TestTheFirstChampion:
    def test_must_beat_the_commonest_class(self) -> None:
        verdict = decide(challenger(), None, POLICY)
        assert verdict.promote
        assert verdict.sentence == (
            "First champion: right on 84.0 % of 1000 test rows, "
            "against 50.0 % for always answering the commonest class."
        )

    @pytest.mark.parametrize("accuracy", [0.5, 0.4])
    def test_else_it_is_refused(self, accuracy: float) -> None:
        verdict = decide(challenger(replace(AFTER, accuracy=accuracy)), None, POLICY)
        assert not verdict.promote
        assert "commonest class is right on 50.0 %" in verdict.sentence


class TestAChallenger:
    def test_that_is_better_replaces_the_champion(self) -> None:
        verdict = decide(challenger(), "champ", POLICY)
        assert verdict.promote
        assert verdict.sentence == (
            "Better by 4.0 points: right on 84.0 % of 1000 test rows, the champion champ on "
            "80.0 % (60 rows won, 20 lost, p = 8.6e-06)."
        )

    def test_that_is_not_better_enough_is_refused(self) -> None:
        verdict = decide(challenger(wins=21, losses=20), "champ", POLICY)
        assert not verdict.promote
        assert verdict.sentence.startswith("Not better by 0.2 points")

    def test_that_is_worse_is_refused(self) -> None:
        assert not decide(challenger(wins=20, losses=60), "champ", POLICY).promote

    def test_whose_gain_may_be_chance_is_refused(self) -> None:
        verdict = decide(challenger(wins=30, losses=20), "champ", POLICY)
        assert not verdict.promote
        assert verdict.sentence.startswith("The gain may be chance (p above 0.05)")

    def test_that_loses_a_class_is_refused(self) -> None:
        lost = replace(AFTER, per_class_recall={"neg": 0.98, "pos": 0.7})
        verdict = decide(challenger(lost), "champ", POLICY)
        assert not verdict.promote
        assert verdict.sentence.startswith('Class "pos" loses: found 70.0 % of it, the champion 80.0 %')

    def test_that_no_longer_knows_a_class_is_refused(self) -> None:
        gone = replace(AFTER, per_class_recall={"neg": 0.98})
        assert 'Class "pos" loses: found 0.0 %' in decide(challenger(gone), "champ", POLICY).sentence

    def test_is_not_held_to_a_class_without_test_rows(self) -> None:
        before = replace(BEFORE, per_class_recall={"neg": 0.8, "pos": 0.8, "rare": None})
        assert decide(challenger(before=before), "champ", POLICY).promote

    def test_whose_probabilities_are_less_true_is_refused(self) -> None:
        verdict = decide(challenger(replace(AFTER, calibration_error=0.09)), "champ", POLICY)
        assert not verdict.promote
        assert verdict.sentence.startswith("Its probabilities are less true (calibration error 0.090")

    @pytest.mark.parametrize("comparison", [None, challenger().comparison])
    def test_that_was_not_compared_with_todays_champion_is_refused(self, comparison: Comparison | None) -> None:
        verdict = decide(replace(challenger(), comparison=comparison), "another", POLICY)
        assert not verdict.promote
        assert "the champion is now another" in verdict.sentence

    def test_a_gain_of_exactly_the_least_gain_is_enough(self) -> None:
        policy = replace(POLICY, min_gain=0.04)
        assert decide(challenger(), "champ", policy).promote


def test_the_same_facts_give_the_same_verdict() -> None:
    assert decide(challenger(), "champ", POLICY) == decide(challenger(), "champ", POLICY)
