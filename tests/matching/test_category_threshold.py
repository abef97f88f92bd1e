"""Thresholds by category: the shrinkage by hand, and what is kept."""

from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.errors import ThresholdError
from simprod_tf.matching.category_threshold import (
    category_offsets,
    choose_category_thresholds,
)
from simprod_tf.matching.threshold import choose_threshold


def drawn(
    n: int, seed: int, *, others: tuple[float, ...] = (0.95, 1.3)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.random(n) < 0.3
    codes = random.integers(len(others), size=n)
    means = np.where(labels, 0.5, np.asarray(others)[codes])
    distances = np.clip(means + 0.2 * random.normal(size=n), 0, 2)
    return distances, labels, np.asarray(["hard", "easy"])[codes]


def test_offsets_by_hand() -> None:
    # Category 0 at .1 .2 .3 .4: 1 1 0 0. Category 1 at .15 .25 .35 .45: 1 1 1 0.
    # All, from near to far: 1/1 2/2 3/3 4/4 4/5 5/6 5/7 5/8; the last of .8 is at .35.
    distances = np.array([0.1, 0.2, 0.3, 0.4, 0.15, 0.25, 0.35, 0.45])
    positive = np.array([1, 1, 0, 0, 1, 1, 1, 0], bool)
    codes = np.array([0, 0, 0, 0, 1, 1, 1, 1])

    def offsets(shrinkage: float) -> np.ndarray:
        return category_offsets(
            distances,
            positive,
            codes,
            num_categories=3,
            precision=0.8,
            shrinkage=shrinkage,
        )

    # Nearly by themselves: 2 of 2 until .25, 3 of 3 until .4; the third has no pair.
    np.testing.assert_allclose(offsets(1e-9), [-0.1, 0.05, 0.0])
    # With 2 pseudo-pairs, category 0 at .35: (2 + 2 * 5/6) / 5 = .733, and at .25:
    # (2 + 2) / 4. Category 1 at .4: (3 + 2 * 5/7) / 5 = .886; at .45: (3 + 1.25) / 6.
    np.testing.assert_allclose(offsets(2.0), [-0.1, 0.05, 0.0])
    # With 1,000 all are as the whole: at .35, category 0: (2 + 833.3) / 1003 = .833.
    np.testing.assert_allclose(offsets(1000.0), [0.0, 0.0, 0.0])


def test_categories_that_differ_get_thresholds_of_their_own() -> None:
    pairs = drawn(5_000, 0)
    decision = choose_category_thresholds(*pairs, precision=0.95, fingerprint="f")
    everywhere = choose_threshold(*pairs[:2], precision=0.95)
    assert set(decision.by_category) == {"easy", "hard"}
    hard, easy = decision.limits(["hard", "easy"])
    assert hard < everywhere.max_distance < easy
    assert decision.recall > everywhere.recall
    assert decision.precision_lower_bound >= 0.95
    assert decision.method == "fixed sequence, Wilson bound, by category"
    # A category unheard of has the global threshold.
    assert decision.limits(["hats"])[0] == everywhere.max_distance
    assert decision.max_distance == everywhere.max_distance
    assert decision.encoder_fingerprint == "f"


def test_categories_without_difference_leave_the_global_decision() -> None:
    pairs = drawn(3_000, 1, others=(1.1, 1.1))
    found = choose_category_thresholds(*pairs, precision=0.95, shrinkage=1e9)
    assert found == choose_threshold(*pairs[:2], precision=0.95)


def test_a_refusal_is_that_of_the_global_threshold() -> None:
    pairs = drawn(60, 0)
    with pytest.raises(ThresholdError, match="there are 60 labelled pairs"):
        choose_category_thresholds(*pairs, precision=0.95)


def test_wrong_categories_are_refused() -> None:
    distances, labels, categories = drawn(50, 0)
    with pytest.raises(ValueError, match=r"one category a pair \(50\), got 49"):
        choose_category_thresholds(distances, labels, categories[:-1])
    with pytest.raises(ValueError, match="shrinkage must be above 0, got 0"):
        choose_category_thresholds(distances, labels, categories, shrinkage=0)
