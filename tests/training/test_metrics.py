"""Keras metrics of a batch's pairs."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from simprod_tf.training.metrics import DistancePrAuc


def test_the_metric_is_the_area_under_the_precision_recall_curve():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 3000)
    distances = np.clip(1.2 - 0.5 * labels + rng.normal(0, 0.3, 3000), 0, 2)
    metric = DistancePrAuc()
    metric.update_state(labels[:, np.newaxis], distances[:, np.newaxis])
    expected = average_precision_score(labels, -distances)
    assert float(metric.result()) == pytest.approx(expected, abs=0.01)
