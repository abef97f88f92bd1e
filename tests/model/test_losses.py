"""The contrastive loss: values by hand, and which way one step goes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.model.losses import contrastive_loss
from simprod_tf.model.siamese import L2Distance


def test_values_by_hand():
    loss = contrastive_loss(margin=1.0)
    distances = tf.constant([[0.5], [0.5], [1.5]])
    labels = tf.constant([[1.0], [0.0], [0.0]])
    # 0.5^2; (1 - 0.5)^2; 0 beyond the margin.
    assert np.isclose(loss(labels, distances), (0.25 + 0.25 + 0) / 3)
    weighted = loss(labels, distances, sample_weight=tf.constant([1.0, 0.0, 1.0]))
    assert np.isclose(weighted, 0.25 / 3)


@pytest.mark.parametrize(("label", "closer"), [(1.0, True), (0.0, False)])
def test_one_step_pulls_similar_pairs_together_and_pushes_others_apart(label, closer):
    x = tf.Variable([[0.6, 0.8]])
    other = tf.constant([[1.0, 0.0]])
    before = float(L2Distance()([x, other])[0, 0])
    with tf.GradientTape() as tape:
        value = contrastive_loss(margin=1.5)([[label]], L2Distance()([x, other]))
    x.assign_sub(0.1 * tape.gradient(value, x))
    after = float(L2Distance()([x, other])[0, 0])
    assert (after < before) == closer
    assert after != before


@pytest.mark.parametrize("margin", [0, -1, 2.5])
def test_margins_that_unit_vectors_cannot_reach_are_refused(margin):
    with pytest.raises(ValueError, match=r"margin must be in \(0, 2\]"):
        contrastive_loss(margin)
