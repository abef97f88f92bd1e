"""Triplet losses: by hand, beside TensorFlow Addons and a slow oracle, with weights."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.model.encoder import UnitLength
from simprod_tf.model.siamese import pairwise_distance
from simprod_tf.model.triplet import triplet_hard_loss, triplet_semihard_loss

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow_addons as tfa

LOSSES = {
    "semihard": triplet_semihard_loss(0.4),
    "hard": triplet_hard_loss(0.4),
    "soft": triplet_hard_loss(soft=True),
}
THEIRS = {
    "semihard": tfa.losses.TripletSemiHardLoss(0.4, distance_metric="L2"),
    "hard": tfa.losses.TripletHardLoss(0.4, distance_metric="L2"),
    "soft": tfa.losses.TripletHardLoss(soft=True, distance_metric="L2"),
}
each_loss = pytest.mark.parametrize("name", LOSSES)
RNG = np.random.default_rng(0)
BATCHES = {
    "some alone": RNG.integers(0, 12, 30),
    "by twos": np.arange(30) // 2,
    "three classes": RNG.integers(0, 3, 30),
    "one class": np.zeros(30, int),
}


def unit(*angles):
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def some_embeddings(size=30, seed=0):
    x = np.random.default_rng(seed).normal(size=(size, 8)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("batch", BATCHES)
@each_loss
def test_value_and_gradient_are_those_of_tensorflow_addons(name, batch):
    x, class_ids = tf.Variable(some_embeddings()), BATCHES[batch]
    with tf.GradientTape(persistent=True) as tape:
        ours, theirs = LOSSES[name](class_ids, x), THEIRS[name](class_ids, x)
    assert np.isclose(ours, theirs, atol=1e-5)
    assert np.allclose(tape.gradient(ours, x), tape.gradient(theirs, x), atol=1e-5)


@each_loss
def test_without_similar_products_the_loss_is_finite(name):
    x, class_ids = some_embeddings(), np.arange(30)
    found = LOSSES[name](class_ids, x)
    if name == "semihard":
        # Theirs is 0 / 0.
        assert found == 0
    else:
        assert np.isclose(found, THEIRS[name](class_ids, x), atol=1e-5)


def test_semihard_takes_the_nearest_negative_beyond_the_similar_one():
    # Chords: 0-1 of 60 degrees is 1, 0-2 of 90 sqrt(2), 0-3 of 180 2, 1-2 of 30
    # 2 sin(15), 1-3 of 120 sqrt(3).
    x = unit(0, np.pi / 3, np.pi / 2, np.pi)
    class_ids = np.array([5, 5, 6, 7])
    found = triplet_semihard_loss(1.0).call(class_ids, x).numpy()
    # Anchor 0: the nearest beyond 1 is sqrt(2). Anchor 1: that is sqrt(3), as 2 lies
    # within. Two similar pairs among four anchors: each counts twice in the mean.
    wanted = [2 * (1 + 1 - np.sqrt(2)), 2 * (1 + 1 - np.sqrt(3)), 0, 0]
    assert np.allclose(found, wanted, atol=1e-5)


def test_semihard_takes_the_farthest_where_no_negative_lies_beyond():
    x = unit(0, np.pi, np.pi / 3, np.pi / 2)
    found = triplet_semihard_loss(1.0).call(np.array([5, 5, 6, 7]), x).numpy()
    # Anchor 0: 2 away from its like; negatives at 1 and sqrt(2).
    assert np.isclose(found[0], 2 * (1 + 2 - np.sqrt(2)), atol=1e-5)


def test_hard_values_by_hand():
    x = unit(0, np.pi / 3, np.pi / 2, np.pi)
    class_ids = np.array([5, 5, 5, 7])
    # Anchors 0, 1, 2, 3: farthest similar sqrt(2), 1, sqrt(2), itself;
    # nearest other 2, sqrt(3), sqrt(2), sqrt(2).
    r2, r3 = np.sqrt(2), np.sqrt(3)
    apart = np.array([r2 - 2, 1 - r3, r2 - r2, 0 - r2])
    found = triplet_hard_loss(0.9).call(class_ids, x).numpy()
    assert np.allclose(found, np.maximum(0.9 + apart, 0), atol=1e-5)
    soft = triplet_hard_loss(soft=True).call(class_ids, x).numpy()
    assert np.allclose(soft, np.log1p(np.exp(apart)), atol=1e-5)


@each_loss
def test_weights_act_on_each_anchor(name):
    loss, class_ids, x = LOSSES[name], BATCHES["three classes"], some_embeddings()
    by_anchor = loss.call(class_ids, x).numpy()
    assert by_anchor.shape == (30,)
    assert by_anchor.std() > 0
    weights = np.random.default_rng(1).integers(0, 3, 30).astype(np.float32)
    wanted = (weights * by_anchor).sum() / 30
    assert np.isclose(loss(class_ids, x, weights), wanted, rtol=1e-5)
    # As Keras hands them over.
    column = loss(class_ids[:, None], x, weights[:, None])
    assert np.isclose(column, wanted, rtol=1e-5)


@each_loss
def test_identical_products_have_a_finite_gradient(name):
    x = tf.Variable(unit(0.3, 0.3, 0.3, 1.0))
    with tf.GradientTape() as tape:
        value = LOSSES[name](np.array([0, 0, 1, 1]), x)
    assert np.isfinite(value)
    assert np.isfinite(tape.gradient(value, x).numpy()).all()


@pytest.mark.parametrize("jit_compile", [False, True])
@each_loss
def test_one_step_of_fit_pulls_a_class_together_and_others_apart(name, jit_compile):
    # Three products, one-hot: each has a row of the kernel for itself.
    start = tf.keras.initializers.Constant(unit(0, 0.6, 1.1))
    dense = tf.keras.layers.Dense(2, kernel_initializer=start, use_bias=False)
    model = tf.keras.Sequential([tf.keras.Input([3]), dense, UnitLength()])
    loss = LOSSES[name]
    model.compile(tf.keras.optimizers.SGD(0.1), loss, jit_compile=jit_compile)
    x, class_ids, weights = np.eye(3), np.array([1, 1, 2]), np.ones(3)
    embeddings = model(x)
    before = pairwise_distance(embeddings).numpy()
    fitted = model.fit(x, class_ids, sample_weight=weights, verbose=0)
    after = pairwise_distance(model(x)).numpy()
    wanted = float(loss(class_ids, embeddings))
    assert fitted.history["loss"][0] == pytest.approx(wanted, rel=1e-5)
    assert after[0, 1] < before[0, 1]
    assert after[1, 2] > before[1, 2]


@each_loss
def test_a_loss_computes_in_float32_whatever_comes(name):
    x, class_ids = some_embeddings(), BATCHES["by twos"]
    found = LOSSES[name](class_ids, tf.cast(x, tf.bfloat16))
    assert found.dtype == tf.float32
    assert np.isclose(found, LOSSES[name](class_ids, x), rtol=0.05)


@each_loss
def test_a_loss_comes_back_from_its_config(name):
    loss = LOSSES[name]
    again = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


def test_margins_that_unit_vectors_cannot_reach_are_refused():
    for make in (triplet_semihard_loss, triplet_hard_loss):
        with pytest.raises(ValueError, match=r"margin must be in \(0, 2\], got 3"):
            make(3)
