"""The curve from distance to probability, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from simprod_tf.errors import ThresholdError
from simprod_tf.matching import Calibration, fit_calibration


def overlapping_pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = random.random(n) < 0.3
    distances = np.abs(np.where(labels, 0.5, 1.0) + 0.2 * random.normal(size=n))
    return distances, labels


def test_the_curve_is_that_of_scikit_learn() -> None:
    distances, labels = overlapping_pairs(400)
    # A soft target t is the pair seen as similar with weight t, as other with 1 - t.
    high = (labels.sum() + 1) / (labels.sum() + 2)
    low = 1 / ((~labels).sum() + 2)
    targets = np.where(labels, high, low)
    oracle = LogisticRegression(C=1e10, tol=1e-10, max_iter=1000).fit(
        np.tile(distances, 2)[:, None],
        np.repeat([1, 0], len(labels)),
        sample_weight=np.concatenate([targets, 1 - targets]),
    )
    curve = fit_calibration(distances, labels)
    assert curve.slope == pytest.approx(oracle.coef_[0, 0], rel=1e-4)
    assert curve.intercept == pytest.approx(oracle.intercept_[0], rel=1e-4)


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
        with pytest.raises(ThresholdError, match="needs similar and other pairs, got"):
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
