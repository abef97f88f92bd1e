"""Losses on distances: values by hand, weights, and which way one step goes."""

from __future__ import annotations

import builtins
import sys

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.errors import MissingLibraryError
from simprod_tf.model.encoder import UnitLength
from simprod_tf.model.losses import contrastive_loss, double_margin_loss, npairs_loss
from simprod_tf.model.siamese import L2Distance, build_pairwise, pairwise_distance

LOSSES = {
    "contrastive": contrastive_loss(1.5),
    "double_margin": double_margin_loss(0.2, 1.5),
    "npairs": npairs_loss(0.5),
}
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
# Products 0 and 1 are similar; of 2 nothing is known.
SIMILAR = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], np.float32)
DISTANCES = np.array([[0, 0.5, 0.8], [0.5, 0, 1.2], [0.8, 1.2, 0]], np.float32)


def unit(angles):
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_contrastive_values_by_hand():
    loss = contrastive_loss(margin=1.0)
    distances = tf.constant([[0.5], [0.5], [1.5]])
    labels = tf.constant([[1.0], [0.0], [0.0]])
    # 0.5^2; (1 - 0.5)^2; 0 beyond the margin.
    assert np.isclose(loss(labels, distances), (0.25 + 0.25 + 0) / 3)
    weighted = loss(labels, distances, sample_weight=tf.constant([1.0, 0.0, 1.0]))
    assert np.isclose(weighted, 0.25 / 3)


def test_double_margin_values_by_hand():
    loss = double_margin_loss(similar_margin=0.3, margin=1.0)
    distances = tf.constant([[0.5], [0.2], [0.4], [1.5]])
    labels = tf.constant([[1.0], [1.0], [0.0], [0.0]])
    # 0.2^2; 0 within the similar margin; 0.6^2; 0 beyond the margin.
    assert np.isclose(loss(labels, distances), (0.04 + 0 + 0.36 + 0) / 4)
    weighted = loss(labels, distances, sample_weight=tf.constant([2.0, 1.0, 0.5, 1]))
    assert np.isclose(weighted, (0.08 + 0.18) / 4)


@pytest.mark.parametrize(
    ("loss", "of_all"),
    [
        # Of (0, 1) and (1, 0): 0.5^2; of (0, 2) twice: (1 - 0.8)^2; of (1, 2): 0.
        (contrastive_loss(1.0), 2 * 0.25 + 2 * 0.04),
        (double_margin_loss(0.3, 1.0), 2 * 0.04 + 2 * 0.04),
    ],
)
def test_weights_of_all_pairs_act_on_each_pair(loss, of_all):
    known = 1.0 - np.eye(3, dtype=np.float32)
    found = loss(SIMILAR, DISTANCES, sample_weight=known)
    assert np.isclose(found, of_all / 9)
    # Mean 1 over the nine: the mean over the pairs known.
    assert np.isclose(loss(SIMILAR, DISTANCES, known * 9 / 6), of_all / 6)
    one = np.zeros((3, 3), np.float32)
    one[0, 2] = 3
    assert np.isclose(loss(SIMILAR, DISTANCES, one), 3 * 0.04 / 9)


def test_npairs_values_by_hand():
    loss = npairs_loss(temperature=0.5)
    # Cosines: 0-1 .875, 0-2 .68, 1-2 .28; over 0.5: 1.75, 1.36, 0.56.
    first = -np.log(np.exp(1.75) / (np.exp(1.75) + np.exp(1.36)))
    second = -np.log(np.exp(1.75) / (np.exp(1.75) + np.exp(0.56)))
    assert np.isclose(loss(SIMILAR, DISTANCES), (first + second) / 2)
    per_pair = loss.call(tf.constant(SIMILAR), tf.constant(DISTANCES)).numpy()
    wanted = np.zeros((3, 3))
    wanted[0, 1], wanted[1, 0] = first, second
    assert np.allclose(per_pair, wanted, atol=1e-6)
    # Product 2's weights are 0, it is a negative still; weights of other pairs idle.
    weights = np.array([[9, 3, 0], [1, 9, 0], [0, 0, 9]], np.float32)
    found = loss(SIMILAR, DISTANCES, weights)
    assert np.isclose(found, (3 * first + second) / 4)


def test_npairs_never_takes_similar_pairs_or_the_diagonal_for_negatives():
    # All similar: no negative is left, and nothing to lose.
    labels = np.ones((3, 3), np.float32)
    assert npairs_loss()(labels, DISTANCES) == 0
    # A label on the diagonal changes nothing; without similar pairs it is 0.
    assert npairs_loss()(np.eye(3, dtype=np.float32), DISTANCES) == 0
    with_diagonal = SIMILAR + np.eye(3, dtype=np.float32)
    found = npairs_loss()(with_diagonal, DISTANCES)
    assert np.isclose(found, npairs_loss()(SIMILAR, DISTANCES))


def test_npairs_matches_a_slow_oracle():
    rng = np.random.default_rng(0)
    class_ids = rng.integers(0, 4, 12)
    x = rng.normal(size=(12, 5))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    weights = rng.random((12, 12))
    total = weight = 0.0
    for i in range(12):
        for j in range(12):
            if i == j or class_ids[i] != class_ids[j]:
                continue
            others = [k for k in range(12) if class_ids[k] != class_ids[i]]
            own = np.exp(x[i] @ x[j] / 0.1)
            rest = sum(np.exp(x[i] @ x[k] / 0.1) for k in others)
            total -= weights[i, j] * np.log(own / (own + rest))
            weight += weights[i, j]
    labels = (class_ids[:, None] == class_ids).astype(np.float32)
    found = npairs_loss(0.1)(labels, pairwise_distance(x), weights)
    assert np.isclose(found, total / weight, rtol=1e-4)


@each_loss
def test_identical_pairs_have_a_finite_gradient(loss):
    x = tf.Variable(unit([0.3, 0.3, 0.3, 1.0]))
    labels = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0] * 4, [0] * 4], np.float32)
    with tf.GradientTape() as tape:
        value = loss(labels, pairwise_distance(x))
    assert np.isfinite(value)
    assert np.isfinite(tape.gradient(value, x).numpy()).all()


def small_pairwise():
    # Three products, one-hot: each has a row of the kernel for itself.
    product = tf.keras.Input([3], name="product")
    start = tf.keras.initializers.Constant(unit([0.0, 0.6, 1.3]))
    dense = tf.keras.layers.Dense(2, kernel_initializer=start, use_bias=False)
    encoder = tf.keras.Model({"product": product}, UnitLength()(dense(product)))
    return build_pairwise(encoder)


@pytest.mark.parametrize("jit_compile", [False, True])
@each_loss
def test_one_step_of_fit_pulls_similar_products_together_and_others_apart(
    loss, jit_compile
):
    inputs = {"product": np.eye(3, dtype=np.float32)}
    model = small_pairwise()
    model.compile(tf.keras.optimizers.SGD(0.1), loss, jit_compile=jit_compile)
    before = model(inputs).numpy()
    weights = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]], np.float32) * 9 / 6
    # Shuffled rows would no longer be the columns' order.
    fit = {"sample_weight": weights, "shuffle": False, "verbose": 0}
    fitted = model.fit(inputs, SIMILAR, **fit)
    after = model(inputs).numpy()
    wanted = float(loss(SIMILAR, before, weights))
    assert fitted.history["loss"][0] == pytest.approx(wanted, rel=1e-5)
    assert after[0, 1] < before[0, 1]
    assert after[1, 2] > before[1, 2]


@pytest.mark.parametrize(("label", "closer"), [(1.0, True), (0.0, False)])
@pytest.mark.parametrize("loss", [contrastive_loss(1.5), double_margin_loss(0.3, 1.5)])
def test_one_step_moves_a_twin_pair_the_right_way(loss, label, closer):
    x = tf.Variable([[0.6, 0.8]])
    other = tf.constant([[1.0, 0.0]])
    before = float(L2Distance()([x, other])[0, 0])
    with tf.GradientTape() as tape:
        value = loss([[label]], L2Distance()([x, other]))
    x.assign_sub(0.1 * tape.gradient(value, x))
    after = float(L2Distance()([x, other])[0, 0])
    assert (after < before) == closer
    assert after != before


@each_loss
def test_pairs_of_weight_zero_are_absent_and_twice_the_weight_is_twice_the_pair(loss):
    x = tf.Variable(unit([0.0, 0.6, 1.3]))

    def gradient(weights):
        with tf.GradientTape() as tape:
            value = loss(SIMILAR, pairwise_distance(x), np.array(weights, np.float32))
        return tape.gradient(value, x).numpy()

    assert (gradient(np.zeros((3, 3))) == 0).all()
    first, second = np.zeros((3, 3)), np.zeros((3, 3))
    first[0, 1], second[1, 0] = 1, 1
    if loss.name == "npairs_loss":
        # A weighted mean: (2 first + second) / 3.
        wanted = (2 * gradient(first) + gradient(second)) / 3
    else:
        wanted = 2 * gradient(first) + gradient(second)
    assert np.allclose(gradient(2 * first + second), wanted, atol=1e-6)


@each_loss
def test_a_loss_computes_in_float32_whatever_comes(loss):
    found = loss(SIMILAR, tf.cast(DISTANCES, tf.bfloat16))
    assert found.dtype == tf.float32
    assert np.isclose(found, loss(SIMILAR, DISTANCES), rtol=0.02)


@each_loss
def test_a_loss_comes_back_from_its_config(loss):
    again = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert np.isclose(again(SIMILAR, DISTANCES), loss(SIMILAR, DISTANCES))


@pytest.mark.parametrize("loss", [contrastive_loss(1.0), double_margin_loss()])
def test_labels_are_shaped_like_the_distances_or_refused(loss):
    distances = tf.constant([[0.5], [0.5]])
    flat = loss(tf.constant([1, 0]), distances)
    assert flat == loss(tf.constant([[1.0], [0.0]]), distances)
    with pytest.raises(tf.errors.InvalidArgumentError, match="reshape"):
        loss(tf.constant([4, 7, 4]), DISTANCES)


def test_npairs_refuses_twin_pairs():
    with pytest.raises(ValueError, match="all pairs in a batch.*got \\(2, 1\\)"):
        npairs_loss()(tf.constant([[1.0], [0.0]]), tf.constant([[0.5], [0.5]]))


@pytest.mark.parametrize("margin", [0, -1, 2.5])
def test_margins_that_unit_vectors_cannot_reach_are_refused(margin):
    with pytest.raises(ValueError, match=r"margin must be in \(0, 2\]"):
        contrastive_loss(margin)
    with pytest.raises(ValueError, match=r"margin must be in \(0, 2\]"):
        double_margin_loss(0.0, margin)


@pytest.mark.parametrize("similar_margin", [-0.1, 1.0])
def test_a_similar_margin_lies_below_the_other(similar_margin):
    with pytest.raises(ValueError, match=r"similar_margin must be in \[0, margin\)"):
        double_margin_loss(similar_margin, 1.0)


def test_a_temperature_is_above_zero():
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        npairs_loss(0)


def test_without_tensorflow_addons_it_is_asked_for(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kw):
        if name == "tensorflow_addons":
            raise ImportError(name)
        return real(name, *args, **kw)

    monkeypatch.delitem(sys.modules, "tensorflow_addons", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingLibraryError, match="pip install tensorflow-addons"):
        contrastive_loss()
