from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from simprod_tf.evaluation.metrics import (
    best_f1,
    pr_auc,
    precision_recall_at,
    precision_recall_curve,
    recall_at_precision,
    roc_auc,
)

# By distance: similar, not, similar, not. Precision at the similar ones: 1/1 and 2/3.
LABELS = np.array([1, 1, 0, 0])
DISTANCES = np.array([0.1, 0.5, 0.3, 0.9])


def drawn_pairs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs with many equal distances: 60 pairs on 9 values."""
    generator = np.random.default_rng(seed)
    return generator.integers(2, size=60), generator.integers(9, size=60) / 4


def test_pr_auc_of_four_pairs_by_hand() -> None:
    assert pr_auc(LABELS, DISTANCES) == pytest.approx((1 + 2 / 3) / 2)


def test_roc_auc_of_four_pairs_by_hand() -> None:
    # Of the four (similar, not) combinations only 0.5 against 0.3 is the wrong way.
    assert roc_auc(LABELS, DISTANCES) == pytest.approx(3 / 4)


def test_equal_distances_are_accepted_together() -> None:
    assert pr_auc([1, 0], [0.5, 0.5]) == pytest.approx(0.5)
    assert roc_auc([1, 0], [0.5, 0.5]) == pytest.approx(0.5)
    assert len(precision_recall_curve([1, 0], [0.5, 0.5]).recall) == 1


def test_perfect_and_reversed_order_are_the_extremes() -> None:
    assert pr_auc([1, 1, 0], [0.1, 0.2, 0.3]) == pytest.approx(1.0)
    assert roc_auc([1, 1, 0], [0.1, 0.2, 0.3]) == pytest.approx(1.0)
    assert roc_auc([0, 1, 1], [0.1, 0.2, 0.3]) == pytest.approx(0.0)


@pytest.mark.parametrize("seed", range(20))
def test_areas_equal_scikit_learn_with_ties(seed: int) -> None:
    labels, distances = drawn_pairs(seed)
    expected = sklearn_metrics.average_precision_score(labels, -distances)
    assert pr_auc(labels, distances) == pytest.approx(expected, abs=1e-12)
    expected = sklearn_metrics.roc_auc_score(labels, -distances)
    assert roc_auc(labels, distances) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_curve_equals_scikit_learn(seed: int) -> None:
    labels, distances = drawn_pairs(seed)
    precision, recall, scores = sklearn_metrics.precision_recall_curve(
        labels, -distances
    )
    curve = precision_recall_curve(labels, distances)
    # scikit-learn goes from the loosest cut to the strictest, then adds (1, 0).
    np.testing.assert_allclose(curve.max_distance, -scores[::-1])
    np.testing.assert_allclose(curve.precision, precision[-2::-1])
    np.testing.assert_allclose(curve.recall, recall[-2::-1])


def test_curve_of_four_pairs_by_hand() -> None:
    curve = precision_recall_curve(LABELS, DISTANCES)
    np.testing.assert_allclose(curve.max_distance, [0.1, 0.3, 0.5, 0.9])
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3, 2 / 4])
    np.testing.assert_allclose(curve.recall, [1 / 2, 1 / 2, 1, 1])


def test_precision_recall_at_takes_the_threshold_itself_as_similar() -> None:
    at = precision_recall_at(LABELS, DISTANCES, max_distance=0.5)
    assert at.precision == pytest.approx(2 / 3)
    assert at.recall == pytest.approx(1.0)


def test_what_the_pairs_cannot_give_is_nan() -> None:
    assert math.isnan(pr_auc([0, 0], [0.1, 0.2]))
    assert math.isnan(pr_auc([], []))
    assert math.isnan(roc_auc([0, 0], [0.1, 0.2]))
    assert math.isnan(roc_auc([1, 1], [0.1, 0.2]))
    assert math.isnan(roc_auc([], []))
    assert np.isnan(precision_recall_curve([0], [0.1]).recall).all()
    nothing_accepted = precision_recall_at([1], [0.5], max_distance=0.1)
    assert math.isnan(nothing_accepted.precision)
    assert nothing_accepted.recall == 0.0
    assert math.isnan(precision_recall_at([0], [0.5], max_distance=0.1).recall)


def test_pr_auc_of_similar_pairs_alone_is_one() -> None:
    assert pr_auc([1, 1], [0.1, 0.2]) == pytest.approx(1.0)


def test_labels_and_distances_are_checked() -> None:
    with pytest.raises(ValueError, match=r"one length, got shapes \(2,\) and \(1,\)"):
        pr_auc([1, 0], [0.1])
    with pytest.raises(ValueError, match="labels must be 1"):
        pr_auc([1, 2], [0.1, 0.2])
    with pytest.raises(ValueError, match="distances must be finite"):
        pr_auc([1, 0], [0.1, math.nan])


def test_f1_and_the_oracles_of_four_pairs_by_hand() -> None:
    # Cut at 0.1: precision 1, recall 1/2; at 0.5: precision 2/3, recall 1.
    assert best_f1(LABELS, DISTANCES) == pytest.approx(4 / 5)
    assert recall_at_precision(LABELS, DISTANCES, precision=0.95) == 0.5
    assert recall_at_precision(LABELS, DISTANCES, precision=2 / 3) == 1.0
    found = precision_recall_at(LABELS, DISTANCES, max_distance=0.4)
    assert found.f1 == pytest.approx(1 / 2)


@pytest.mark.parametrize("seed", range(5))
def test_f1_and_the_oracles_equal_scikit_learn_with_ties(seed: int) -> None:
    labels, distances = drawn_pairs(seed)
    precision, recall, limits = sklearn_metrics.precision_recall_curve(
        labels, -distances
    )
    f1s = [
        sklearn_metrics.f1_score(labels, distances <= -limit, zero_division=0)
        for limit in limits
    ]
    assert best_f1(labels, distances) == pytest.approx(max(f1s))
    for wanted in (0.4, 0.5, 0.6, 0.95):
        found = recall_at_precision(labels, distances, precision=wanted)
        assert found == pytest.approx(recall[precision >= wanted].max())
    for limit, f1 in zip(limits, f1s):
        at = precision_recall_at(labels, distances, max_distance=-limit)
        assert at.f1 == pytest.approx(f1)


def test_f1_without_hits_is_zero_and_without_anything_is_nan() -> None:
    nothing_accepted = precision_recall_at([1, 0], [0.5, 0.6], max_distance=0.1)
    assert nothing_accepted.f1 == 0
    nothing_similar = precision_recall_at([0, 0], [0.5, 0.6], max_distance=0.5)
    assert nothing_similar.f1 == 0
    assert precision_recall_at([1, 0], [0.6, 0.5], max_distance=0.5).f1 == 0
    assert math.isnan(precision_recall_at([0], [0.5], max_distance=0.1).f1)
    assert math.isnan(best_f1([0, 0], [0.1, 0.2]))
    assert math.isnan(recall_at_precision([0], [0.1], precision=0.9))


def test_no_threshold_that_precise_recalls_nothing() -> None:
    assert recall_at_precision([0, 1], [0.1, 0.2], precision=0.9) == 0


def test_a_precision_is_above_zero_and_at_most_one() -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1, got 95"):
        recall_at_precision(LABELS, DISTANCES, precision=95)
