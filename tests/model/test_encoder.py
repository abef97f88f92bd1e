"""The encoder: unit length, missing modalities, shared weights, finite gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.model.encoder import (
    EncoderSettings,
    MissingVector,
    UnitLength,
    build_encoder,
    build_head,
)
from simprod_tf.model.siamese import L2Distance, build_siamese
from simprod_tf.model.text_tower import HasWords, WordVectorMean

VECTORS = np.array([[3, 0, 0], [0, 4, 0], [0, 0, 1]], np.float32)


def tower():
    image = tf.keras.Input([4, 4, 3])
    return tf.keras.Model(image, tf.keras.layers.Flatten()(image))


def products(seed=0, size=4):
    rng = np.random.default_rng(seed)
    return {
        "image": (rng.random((size, 4, 4, 3)) * 255).astype(np.float32),
        "has_image": np.array([[1], [0], [1], [0]], np.float32)[:size],
        "word_ids": np.array([[1, 2], [3, 0], [0, 0], [0, 0]], np.int32)[:size],
    }


@pytest.fixture
def encoder():
    tf.keras.utils.set_random_seed(0)
    settings = EncoderSettings(embedding_dim=8, hidden_units=16)
    return build_encoder(tower(), build_head(48, VECTORS, settings))


def test_the_mean_is_over_known_words_alone():
    layer = WordVectorMean(3, 3)
    layer(np.zeros((1, 2), np.int32))
    layer.set_vectors(VECTORS)
    ids = np.array([[1, 2, 0], [3, 3, 1], [0, 0, 0]], np.int32)
    expected = [[1.5, 2, 0], [1, 0, 2 / 3], [0, 0, 0]]
    assert np.allclose(layer(ids).numpy(), expected)
    assert HasWords()(ids).numpy().tolist() == [[1], [1], [0]]


def test_unit_length_keeps_zero_and_its_gradient_finite():
    x = tf.Variable([[3.0, 4.0], [0.0, 0.0]])
    with tf.GradientTape() as tape:
        unit = UnitLength()(x)
        loss = tf.reduce_sum(unit)
    assert np.allclose(unit.numpy(), [[0.6, 0.8], [0, 0]])
    assert np.isfinite(tape.gradient(loss, x).numpy()).all()


def test_a_missing_modality_has_its_own_vector():
    layer = MissingVector()
    layer([tf.zeros([1, 2]), tf.zeros([1, 1])])
    layer.set_weights([np.array([7.0, 8.0], np.float32)])
    found = layer([tf.constant([[1.0, 2], [3, 4]]), tf.constant([[1.0], [0]])])
    assert found.numpy().tolist() == [[1, 2], [7, 8]]


def test_embeddings_are_unit_or_zero_where_nothing_is_known(encoder):
    lengths = np.linalg.norm(encoder(products()).numpy(), axis=1)
    assert np.allclose(lengths, [1, 1, 1, 0], atol=1e-5)


def test_raw_features_are_the_normalised_parts_side_by_side():
    head = build_head(2, VECTORS, EncoderSettings(embedding_dim=0))
    found = head(
        {
            "image_features": np.array([[3, 4], [9, 9], [5, 12]], np.float32),
            "has_image": np.array([[1], [0], [1]], np.float32),
            "word_ids": np.array([[1], [2], [0]], np.int32),
        }
    ).numpy()
    half = 1 / np.sqrt(2)
    assert np.allclose(found[0], [0.6 * half, 0.8 * half, half, 0, 0])
    assert np.allclose(found[1], [0, 0, 0, 1, 0])
    assert np.allclose(found[2], [5 / 13, 12 / 13, 0, 0, 0])


@pytest.mark.parametrize(("image_dim", "words"), [(0, 3), (48, 0)])
def test_one_modality_is_enough(image_dim, words):
    head = build_head(image_dim, VECTORS[:words], EncoderSettings(embedding_dim=4))
    model = build_encoder(tower() if image_dim else None, head)
    wanted = {"image", "has_image"} if image_dim else {"word_ids"}
    assert set(model.input) == wanted
    inputs = {name: x for name, x in products().items() if name in wanted}
    assert np.allclose(np.linalg.norm(model(inputs).numpy()[:1], axis=1), 1)


def test_neither_modality_is_refused():
    with pytest.raises(ValueError, match="needs pictures or titles; got neither"):
        build_head(0, VECTORS[:0], EncoderSettings())


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="must be at least 0, got -1"):
        EncoderSettings(embedding_dim=-1)
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\), got 1"):
        EncoderSettings(dropout=1)


def test_a_saved_encoder_answers_the_same(encoder, tmp_path):
    encoder.save(tmp_path / "encoder.keras")
    again = tf.keras.models.load_model(tmp_path / "encoder.keras")
    assert (again(products()).numpy() == encoder(products()).numpy()).all()


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
