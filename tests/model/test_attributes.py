"""Attributes as vectors: by hand, and what gradients reach."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.model.attributes import CategoryVector, HasValue, NumberVector
from simprod_tf.model.encoder import EncoderSettings, build_head
from simprod_tf.model.source import CategorySource, NumberSource


@pytest.fixture(params=["mixed_bfloat16", "mixed_float16"])
def half_precision(request):
    """Keras' policy for the test, and the earlier one back after it."""
    earlier = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(request.param)
    yield
    tf.keras.mixed_precision.set_global_policy(earlier)


def test_a_number_is_split_between_its_neighbouring_points():
    layer = NumberVector([0, 10, 30])
    numbers = np.array([[0], [5], [10], [15], [30]], np.float32)
    expected = [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0.75, 0.25], [0, 0, 1]]
    assert np.allclose(layer(numbers).numpy(), expected)


def test_numbers_beyond_the_ends_count_as_the_end():
    found = NumberVector([1, 2])(np.array([[-1e9], [1e9]], np.float32)).numpy()
    assert found.tolist() == [[1, 0], [0, 1]]


def test_one_point_is_enough():
    assert NumberVector([7])(np.array([[3.0]])).numpy().tolist() == [[1]]


@pytest.mark.parametrize("points", [[], [1, 1], [2, 1]])
def test_points_must_rise(points):
    with pytest.raises(ValueError, match="points must rise"):
        NumberVector(points)


def test_a_category_has_a_row_and_a_missing_one_none():
    layer = CategoryVector(2, 3)
    ids = np.array([[1], [0], [2]], np.int32)
    layer(ids)
    layer.set_weights([np.array([[1, 2, 3], [4, 5, 6]], np.float32)])
    assert layer(ids).numpy().tolist() == [[1, 2, 3], [0, 0, 0], [4, 5, 6]]
    assert HasValue()(ids).numpy().tolist() == [[1], [0], [1]]


def test_a_missing_category_trains_no_vector():
    layer = CategoryVector(2, 3)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(np.array([[0], [2]], np.int32)))
    slope = tf.convert_to_tensor(tape.gradient(loss, layer.trainable_weights[0]))
    assert slope.numpy().tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.usefixtures("half_precision")
def test_numbers_keep_their_digits_under_half_precision():
    # bfloat16 goes in steps of 512 here, and float16 ends at 65504.
    numbers = tf.keras.Input([1])
    model = tf.keras.Model(numbers, NumberVector([70000, 70001])(numbers))
    found = model(np.array([[70000.25]], np.float32))
    assert found.dtype == tf.float32
    assert found.numpy().tolist() == [[0.75, 0.25]]


@pytest.mark.usefixtures("half_precision")
def test_categories_keep_their_digits_under_half_precision():
    layer = CategoryVector(1, 2)
    ids = np.array([[1]], np.int32)
    layer(ids)
    row = np.array([[1 + 2**-20, 1 / 3]], np.float32)
    layer.set_weights([row])
    assert layer(ids).numpy().tolist() == row.tolist()


@pytest.mark.usefixtures("half_precision")
def test_a_head_of_attributes_is_trained_under_half_precision():
    sources = [CategorySource("brand", 2, dim=4), NumberSource("price", [1.0, 5.0])]
    head = build_head(sources, EncoderSettings(embedding_dim=4))
    inputs = {
        "brand_id": np.array([[1], [2]], np.int32),
        "price_number": np.array([[2.0], [4.0]], np.float32),
        "has_price": np.ones((2, 1), np.float32),
    }
    with tf.GradientTape() as tape:
        embeddings = head(inputs, training=True)
        loss = tf.reduce_sum(embeddings[0] * embeddings[1])
    assert np.allclose(np.linalg.norm(embeddings.numpy(), axis=1), 1, atol=1e-2)
    slopes = tape.gradient(loss, head.trainable_weights)
    assert np.isfinite(tf.convert_to_tensor(slopes[0]).numpy()).all()


def test_layers_come_back_from_their_settings():
    for layer in (NumberVector([0, 2.5]), CategoryVector(4, 2)):
        again = type(layer).from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
