from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from simprod_tf.evaluation.probability_metrics import brier


def test_brier_of_three_pairs_by_hand() -> None:
    assert brier([1.0, 0.5, 0.2], [1, 1, 0]) == pytest.approx((0 + 0.25 + 0.04) / 3)


def test_brier_equals_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    said, labels = generator.random(200), generator.integers(2, size=200)
    assert brier(said, labels) == pytest.approx(brier_score_loss(labels, said))


def test_no_pairs_have_no_brier_score() -> None:
    assert math.isnan(brier([], []))


def test_what_is_no_probability_of_each_pair_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got shapes \(2,\) and \(1,\)"):
        brier([0.1, 0.2], [1])
    for wrong in (1.1, -0.1, math.nan):
        with pytest.raises(ValueError, match="lie between 0 and 1"):
            brier([wrong], [1])
