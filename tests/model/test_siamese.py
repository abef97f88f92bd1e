"""Distances of twin pairs and of all pairs: values, gradients, shared weights."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.distance import cdist

from simprod_tf.model.encoder import EncoderSettings, build_head
from simprod_tf.model.siamese import (
    L2Distance,
    PairwiseDistance,
    build_pairwise,
    build_siamese,
    pairwise_distance,
)
from simprod_tf.model.source import TextSource, VectorSource

VECTORS = np.array([[3, 0, 0], [0, 4, 0], [0, 0, 1]], np.float32)


@pytest.fixture
def encoder():
    tf.keras.utils.set_random_seed(0)
    sources = [VectorSource("tower", 6, "image"), TextSource(VECTORS)]
    return build_head(sources, EncoderSettings(embedding_dim=8, hidden_units=16))


def products(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "tower_features": rng.random((4, 6)).astype(np.float32),
        "has_image": np.array([[1], [0], [1], [0]], np.float32),
        "word_ids": np.array([[1, 2], [3, 0], [0, 0], [0, 0]], np.int32),
    }


def unit_rows(shape, seed=0):
    x = np.random.default_rng(seed).normal(size=shape)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def pair_of(first, second):
    return {
        **{f"anchor_{name}": x for name, x in first.items()},
        **{f"other_{name}": x for name, x in second.items()},
    }


def test_the_siamese_distance_is_that_of_the_embeddings(encoder):
    siamese = build_siamese(encoder)
    first, second = products(1), products(2)
    found = siamese(pair_of(first, second)).numpy()
    difference = encoder(first).numpy() - encoder(second).numpy()
    assert found.shape == (4, 1)
    assert np.allclose(found[:, 0], np.linalg.norm(difference, axis=1), atol=1e-6)


def test_both_sides_share_their_weights_and_distance_is_symmetric(encoder):
    siamese = build_siamese(encoder)
    assert len(siamese.weights) == len(encoder.weights)
    first, second = products(1), products(2)
    there = siamese(pair_of(first, second)).numpy()
    back = siamese(pair_of(second, first)).numpy()
    assert np.allclose(there, back)
    assert (siamese(pair_of(first, first)).numpy() == 0).all()


def test_identical_pairs_have_a_finite_gradient():
    x = tf.Variable([[0.6, 0.8], [1.0, 0.0]])
    with tf.GradientTape() as tape:
        distance = L2Distance()([x, tf.constant([[0.6, 0.8], [0.0, 1.0]])])
        loss = tf.reduce_sum(distance)
    assert np.allclose(distance.numpy(), [[0], [np.sqrt(2)]])
    gradient = tape.gradient(loss, x).numpy()
    assert (gradient[0] == 0).all()
    assert np.allclose(gradient[1], np.array([1, -1]) / np.sqrt(2))


def test_pairwise_distances_are_scipys():
    x = unit_rows((60, 128))
    found = pairwise_distance(x).numpy()
    assert np.allclose(found, cdist(x, x), atol=1e-5)
    assert np.allclose(found, found.T, atol=1e-6)
    assert (np.diag(found) == 0).all()


def test_pairwise_distances_of_nearly_the_same_rows_are_near():
    x = unit_rows((60, 128))
    x[30:] = x[:30] + np.random.default_rng(1).normal(size=(30, 128)) * 1e-5
    x[0] = x[1]
    found = pairwise_distance(x).numpy()
    wanted = cdist(x.astype(np.float64), x.astype(np.float64))
    assert wanted[2, 32] < 2e-4
    assert np.abs(found - wanted).max() < 1e-3


def test_pairwise_gradients_are_finite_and_those_of_twin_pairs():
    x = tf.Variable(unit_rows((5, 3)))
    x[1].assign(x[0])
    x[4].assign([0.0, 0.0, 0.0])
    rows, others = np.triu_indices(5, 1)
    with tf.GradientTape(persistent=True) as tape:
        all_pairs = tf.reduce_sum(pairwise_distance(x)) / 2
        twins = L2Distance()([tf.gather(x, rows), tf.gather(x, others)])
        total = tf.reduce_sum(twins)
    found = tape.gradient(all_pairs, x).numpy()
    wanted = tf.convert_to_tensor(tape.gradient(total, x)).numpy()
    assert np.isfinite(found).all()
    # Rows 0 and 1 are the same; where their rounding differs, so does their pull.
    assert np.allclose(found[2:], wanted[2:], atol=1e-4)
    assert np.allclose(found[:2], wanted[:2], atol=1e-3)


def test_distances_are_float32_whatever_comes():
    x = tf.cast(unit_rows((5, 3)), tf.bfloat16)
    assert PairwiseDistance(dtype="float32")(x).dtype == tf.float32
    assert L2Distance(dtype="float32")([x, x]).dtype == tf.float32


def test_the_pairwise_model_gives_the_distances_of_the_embeddings(encoder):
    model = build_pairwise(encoder)
    assert set(model.input) == set(encoder.input)
    assert len(model.weights) == len(encoder.weights)
    x = encoder(products()).numpy()
    assert np.allclose(model(products()).numpy(), cdist(x, x), atol=1e-3)


def test_a_saved_pairwise_model_answers_the_same(encoder, tmp_path):
    model = build_pairwise(encoder)
    model.save(tmp_path / "pairwise.keras")
    again = tf.keras.models.load_model(tmp_path / "pairwise.keras")
    assert (again(products()).numpy() == model(products()).numpy()).all()
