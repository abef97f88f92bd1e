"""Probabilities inside a graph are those of the calibration."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.export.probability import probability_of
from simprod_tf.matching.calibration import Calibration

KNOTS = ((0.1, 5.0), (0.4, 5.0), (0.9, -1.0), (1.2, -6.5))


@pytest.mark.parametrize(
    "curve",
    [
        Calibration(-9.0, 4.0),
        Calibration(0.0, -0.5),
        Calibration(-2000.0, 900.0),
        Calibration(knots=KNOTS),
        Calibration(knots=((0.5, 1.0),)),
    ],
    ids=["logistic", "flat", "steep", "isotonic", "one knot"],
)
def test_probabilities_are_those_of_the_calibration(curve):
    ends = [0.1, 0.4, 0.9, 1.2, 0.0, 2.0, 0.0999, 1.2001]
    random = np.random.default_rng(0).uniform(0, 2, 200)
    distances = np.array([*ends, *random], np.float32)
    found = tf.function(lambda d: probability_of(curve, d))(tf.constant(distances))
    assert found.dtype == tf.float32
    expected = curve.probability(distances).astype(np.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_half_way_between_two_knots_the_log_odds_are_half_way():
    # Between (0.4, 5) and (0.9, -1): at 0.65 they are 2, and e^2 / (1 + e^2) is 0.8808.
    found = probability_of(Calibration(knots=KNOTS), tf.constant([0.65, 0.0, 2.0]))
    assert np.allclose(found, [0.8808, 0.9933, 0.0015], atol=1e-4)
