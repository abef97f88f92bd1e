"""The threshold for a stated precision: by hand, by simulation, and its refusals."""

from __future__ import annotations

import re

import numpy as np
import pytest

from simprod_tf.errors import ThresholdError
from simprod_tf.matching.calibration import Calibration, fit_calibration
from simprod_tf.matching.prior import Prior, share_at_prior
from simprod_tf.matching.threshold import Promise, choose_threshold


def test_a_decision_by_hand() -> None:
    # 20 similar pairs at .1 ... .2, another kind of pair at .3, similar at .4, then
    # others; 21 of 22 has the bound .8197 (test_fixed_sequence).
    distances = np.concatenate([np.linspace(0.1, 0.2, 20), [0.3, 0.4, 0.5, 0.6]])
    labels = np.array([1] * 20 + [0, 1, 0, 0])
    decision = choose_threshold(
        distances, labels, precision=0.8, fingerprint="f", date="2026-11-23"
    )
    assert decision.max_distance == 0.4
    assert decision.precision == pytest.approx(21 / 22)
    assert decision.precision_lower_bound == pytest.approx(0.8197, abs=1e-4)
    assert decision.recall == 1.0
    assert (decision.num_pairs, decision.num_positives) == (24, 21)
    assert decision.num_accepted == 22
    assert decision.labelled_prior == decision.prior == 21 / 24
    assert decision.prior_source == "labelled"
    assert (decision.target_precision, decision.confidence) == (0.8, 0.95)
    assert (decision.encoder_fingerprint, decision.date) == ("f", "2026-11-23")
    assert decision.method == "fixed sequence, Wilson bound"
    assert decision.calibration == fit_calibration(distances, labels)
    assert choose_threshold(distances, labels, precision=0.85).max_distance == 0.2


def test_a_rarer_prior_asks_for_more_by_hand() -> None:
    # 400 similar, then 400 others among which 40 similar: prior .55 = 440 / 800.
    random = np.random.default_rng(0)
    labels = np.concatenate([np.ones(400), random.permutation(np.arange(400) < 40)])
    distances = np.arange(800) / 800
    own = choose_threshold(distances, labels, precision=0.9)
    rare = choose_threshold(distances, labels, precision=0.9, prior=0.2)
    assert rare.max_distance < own.max_distance
    assert (rare.prior, rare.prior_source) == (0.2, "given")
    accepted = distances <= rare.max_distance
    share = labels[accepted].mean()
    # Odds of the priors: .25 against 55/45.
    odds = share / (1 - share) * 0.25 / (55 / 45) if share < 1 else np.inf
    assert rare.precision == pytest.approx(1.0 if share == 1 else odds / (1 + odds))
    # The labelled pairs must reach 9 * (55/45) / .25 = 44 to 1.
    wanted = float(share_at_prior(0.9, labelled=0.2, deployed=0.55))
    assert wanted == pytest.approx(44 / 45)
    strict = choose_threshold(distances, labels, precision=wanted)
    assert rare.max_distance == strict.max_distance
    # The bound comes back by the same odds.
    there = strict.precision_lower_bound
    expected = there / (1 - there) * 0.25 / (55 / 45)
    assert rare.precision_lower_bound == pytest.approx(expected / (1 + expected))
    # Probabilities are those at the prior, too.
    np.testing.assert_allclose(
        rare.probability(distances),
        fit_calibration(distances, labels, prior=0.2).probability(distances),
    )


def test_an_estimated_prior_says_so() -> None:
    prior = Prior(0.2, "estimated", 0.15, 0.25)
    decision = choose_threshold(
        *simulated(2_000, np.random.default_rng(0)), prior=prior
    )
    assert (decision.prior, decision.prior_source) == (0.2, "estimated")


def simulated(
    num_pairs: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    labels = random.random(num_pairs) < 0.2
    distances = np.where(labels, 0.5, 1.1) + 0.2 * random.normal(size=num_pairs)
    return np.clip(distances, 0, 2), labels


def test_too_few_pairs_are_refused_with_the_number_needed() -> None:
    distances, labels = simulated(100, np.random.default_rng(0))
    message = (
        r"precision of 0\.9 at confidence 0\.95: there are 100 labelled pairs, "
        rf"{labels.sum()} of them similar, and the prior is 0\.\d+ \(labelled\)\. "
        r"By the calibrated curve about (\d+) pairs of this make-up are needed "
        r"\(enough four times in five\)\. Label more pairs"
    )
    with pytest.raises(ThresholdError, match=message) as refused:
        choose_threshold(distances, labels)
    found = re.search(message, str(refused.value))
    assert found is not None and 100 < int(found[1]) < 2_000
    # The curve can be had all the same.
    assert fit_calibration(distances, labels).slope < 0


def test_a_precision_out_of_reach_is_refused_for_good() -> None:
    random = np.random.default_rng(0)
    distances = random.random(500)
    labels = random.random(500) < 0.5
    with pytest.raises(ThresholdError, match=r"No number of labels would do.* at best"):
        choose_threshold(distances, labels, precision=0.95)


def test_pairs_that_happen_to_fail_are_told_so() -> None:
    random = np.random.default_rng(0)
    promise = Promise.of(
        random.random(500),
        random.random(500) < 0.5,
        precision=0.9,
        confidence=0.95,
        prior=None,
    )
    refusal = promise.refusal(Calibration(slope=-50.0, intercept=25.0))
    assert re.search(r"about \d+ pairs .*four times in five; these happen", refusal)


def test_pairs_of_one_kind_are_refused() -> None:
    with pytest.raises(
        ThresholdError, match="Similar and other pairs are needed, got 0"
    ):
        choose_threshold(np.array([0.1, 0.2]), np.array([0, 0]))


@pytest.mark.parametrize(("precision", "confidence"), [(0, 0.9), (1, 0.9), (0.9, 1)])
def test_impossible_targets_are_refused(precision: float, confidence: float) -> None:
    with pytest.raises(ValueError, match=f"got {precision} and {confidence}"):
        choose_threshold(
            np.array([0.1, 0.2]),
            np.array([1, 0]),
            precision=precision,
            confidence=confidence,
        )
