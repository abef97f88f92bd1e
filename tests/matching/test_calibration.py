"""The curve from distance to probability, against other libraries and by hand."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from simprod_tf.errors import ThresholdError
from simprod_tf.matching.calibration import (
    Calibration,
    cross_fitted_probabilities,
    fit_calibration,
    stratified_folds,
)


def overlapping_pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = random.random(n) < 0.3
    distances = np.abs(np.where(labels, 0.5, 1.0) + 0.2 * random.normal(size=n))
    return distances, labels


def test_the_logistic_curve_has_the_highest_likelihood_by_scipy() -> None:
    distances, labels = overlapping_pairs(400)
    high = (labels.sum() + 1) / (labels.sum() + 2)
    low = 1 / ((~labels).sum() + 2)
    targets = np.where(labels, high, low)

    def loss(curve: np.ndarray) -> float:
        log_odds = curve[0] * distances + curve[1]
        return float((np.logaddexp(0, log_odds) - targets * log_odds).sum())

    oracle = minimize(loss, [0.0, 0.0], method="Nelder-Mead", tol=1e-10).x
    curve = fit_calibration(distances, labels, method="logistic")
    assert (curve.slope, curve.intercept) == pytest.approx(tuple(oracle), rel=1e-4)


def test_the_isotonic_curve_is_that_of_scikit_learn_at_the_pairs() -> None:
    distances, labels = overlapping_pairs(400)
    oracle = IsotonicRegression(increasing=False).fit(distances, labels)
    # Zeros and ones become Platt's targets.
    high = (labels.sum() + 1) / (labels.sum() + 2)
    expected = np.clip(oracle.predict(distances), 1 / ((~labels).sum() + 2), high)
    curve = fit_calibration(distances, labels, method="isotonic")
    np.testing.assert_allclose(curve.probability(distances), expected, atol=1e-12)


def test_isotonic_by_hand() -> None:
    # Distances in order 1 1 0 1 0 0: the middle two average to 1/2. Ends: 4/5 and 1/5.
    distances = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    labels = np.array([1, 1, 0, 1, 0, 0])
    curve = fit_calibration(distances, labels, method="isotonic")
    found = curve.probability(np.array([0.0, 0.15, 0.35, 0.5, 2.0]))
    np.testing.assert_allclose(found, [0.8, 0.8, 0.5, 0.2, 0.2])
    # Halfway between 0.2 and 0.3 the log-odds are half of ln 4.
    assert curve.probability(np.array([0.25])) == pytest.approx(2 / 3)


def test_auto_takes_the_curve_that_fits() -> None:
    random = np.random.default_rng(0)
    distances = 2 * random.random(3000)
    draws = random.random(3000)
    line = draws < 1 / (1 + np.exp(6 * distances - 5))
    steps = draws < np.where(distances < 0.5, 0.95, np.where(distances < 1.5, 0.4, 0.1))
    assert fit_calibration(distances, line).knots == ()
    assert fit_calibration(distances, steps).knots != ()
    # Of either kind fewer than five pairs: no cross-fitting, the fewer parameters.
    assert fit_calibration(distances[:20], np.arange(20) < 4).knots == ()


def test_probabilities_move_to_another_prior_by_hand() -> None:
    distances, labels = overlapping_pairs(400)
    at = np.linspace(0, 2, 9)
    labelled = labels.mean()
    for method in ("logistic", "isotonic"):
        curve = fit_calibration(distances, labels, method=method)
        here = curve.probability(at)
        # Bayes: likelihood ratio times the new prior.
        similar = here / labelled * 0.02
        other = (1 - here) / (1 - labelled) * 0.98
        moved = fit_calibration(distances, labels, method=method, prior=0.02)
        np.testing.assert_allclose(moved.probability(at), similar / (similar + other))
    with pytest.raises(ValueError, match="neither included, got 1"):
        fit_calibration(distances, labels, prior=1)


def test_a_curve_survives_json() -> None:
    distances, labels = overlapping_pairs(200)
    for method in ("logistic", "isotonic"):
        curve = fit_calibration(distances, labels, method=method)
        content = json.loads(json.dumps(dataclasses.asdict(curve)))
        assert Calibration.from_json(content) == curve


def test_cross_fitted_probabilities_do_not_see_their_own_pair() -> None:
    distances, labels = overlapping_pairs(100)
    found = cross_fitted_probabilities(distances, labels, method="logistic", seed=3)
    fold = stratified_folds(labels, 5, seed=3)
    for number in range(5):
        rest = fold != number
        curve = fit_calibration(distances[rest], labels[rest], method="logistic")
        np.testing.assert_allclose(found[~rest], curve.probability(distances[~rest]))
    assert set(np.bincount(fold[labels])) <= {labels.sum() // 5, labels.sum() // 5 + 1}


def test_cross_fitting_needs_two_pairs_of_each_kind() -> None:
    with pytest.raises(ThresholdError, match="two other pairs, got 1 similar of 4"):
        cross_fitted_probabilities(np.arange(4.0), np.array([1, 0, 0, 0]))


def test_a_method_unheard_of_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of .*, got 'platt'"):
        fit_calibration(*overlapping_pairs(20), method="platt")
    with pytest.raises(ValueError, match="must be one of .*, got 'platt'"):
        cross_fitted_probabilities(*overlapping_pairs(20), method="platt")


def test_probabilities_by_hand() -> None:
    curve = Calibration(slope=-2.0, intercept=1.0)
    # At 0.5 the log-odds are 0; at 0, 1 / (1 + 1 / e); far away, 0 without overflow.
    found = curve.probability(np.array([0.5, 0.0, 1e6]))
    np.testing.assert_allclose(found, [0.5, 0.7310586, 0.0], atol=1e-7)


def test_probabilities_never_rise_with_distance() -> None:
    curve = fit_calibration(*overlapping_pairs(200))
    assert curve.slope < 0
    assert (np.diff(curve.probability(np.linspace(0, 2, 50))) < 0).all()


def test_the_probabilities_add_up_to_the_number_of_similar_pairs() -> None:
    distances, labels = overlapping_pairs(2000)
    total = fit_calibration(distances, labels).probability(distances).sum()
    # Platt's targets sum to P + 1 - 2 / (P + 2) or so, not to P.
    assert total == pytest.approx(labels.sum(), abs=1.5)


def test_pairs_that_a_distance_separates_give_a_finite_curve() -> None:
    distances = np.array([0.1, 0.2, 0.3, 1.1, 1.2, 1.3])
    curve = fit_calibration(distances, np.array([1, 1, 1, 0, 0, 0]))
    # At the ends the curve comes near to Platt's targets, 4/5 and 1/5.
    ends = curve.probability(np.array([0.2, 1.2]))
    np.testing.assert_allclose(ends, [0.8, 0.2], atol=0.01)


def test_distances_that_mislead_give_a_flat_curve() -> None:
    curve = fit_calibration(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1]))
    assert curve.slope == 0
    np.testing.assert_allclose(curve.probability(np.array([0.1, 1.9])), 0.5)


def test_equal_distances_give_a_flat_curve() -> None:
    curve = fit_calibration(np.full(6, 0.7), np.array([0, 1, 0, 0, 0, 0]))
    # P = 1, N = 5: the mean target is (2/3 + 5/7) / 6.
    expected = (2 / 3 + 5 / 7) / 6
    np.testing.assert_allclose(curve.probability(np.array([0.7])), expected, atol=1e-6)


def test_pairs_of_one_kind_are_refused() -> None:
    for labels in (np.ones(3), np.zeros(3), np.zeros(0)):
        with pytest.raises(
            ThresholdError, match="Similar and other pairs are needed, got"
        ):
            fit_calibration(np.full(len(labels), 0.5), labels)


@pytest.mark.parametrize(
    ("distances", "labels", "message"),
    [
        ([0.1, 0.2], [1], r"one shape \[N\], got \[2\] and \[1\]"),
        ([0.1, float("nan")], [1, 0], "numbers >= 0"),
        ([0.1, -0.2], [1, 0], "numbers >= 0"),
        ([0.1, 0.2], [1, 2], r"Labels are 1 \(similar\) or 0"),
    ],
)
def test_pairs_that_are_none_are_refused(
    distances: list[float], labels: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit_calibration(np.array(distances), np.array(labels))


def test_a_rising_curve_is_refused() -> None:
    with pytest.raises(ValueError, match="finite slope <= 0, got 0.0 and 1.0"):
        Calibration(slope=1.0, intercept=0.0)


@pytest.mark.parametrize(
    "knots",
    [
        ((0.1, 0.0), (0.2, 1.0)),
        ((0.2, 1.0), (0.1, 0.0)),
        ((0.1, float("inf")), (0.2, 0.0)),
    ],
)
def test_rising_or_disordered_knots_are_refused(
    knots: tuple[tuple[float, float], ...],
) -> None:
    with pytest.raises(ValueError, match="at rising distances, and never rise"):
        Calibration(knots=knots)
