"""The weighted mean of word vectors, against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.model.text_tower import WordVectorMean

RNG = np.random.default_rng(0)


def oracle(ids, vectors, weights, common):
    """The definition, title by title."""
    means = np.zeros((len(ids), vectors.shape[1]))
    has_words = np.zeros((len(ids), 1))
    for row, title in enumerate(ids):
        found = [i - 1 for i in title if i > 0]
        total = sum(weights[i] for i in found)
        if total > 0:
            mean = sum(weights[i] * vectors[i] for i in found) / total
            means[row] = mean - (mean @ common) * common
            has_words[row] = 1
    return means, has_words


def random_layer(num_words, dim, buckets, **arguments):
    """A layer, everything in it set, and its [num_words + buckets, dim] vectors."""
    layer = WordVectorMean(num_words, dim, buckets=buckets, **arguments)
    vectors = RNG.standard_normal((num_words, dim)).astype(np.float32)
    weights = RNG.random(num_words + buckets).astype(np.float32)
    weights[::3] = 0
    common = RNG.standard_normal(dim).astype(np.float32)
    layer.set_vectors(vectors)
    layer.set_word_weights(weights)
    layer.set_common(common / np.linalg.norm(common))
    tables = [vectors, layer.bucket_vectors.numpy()] if buckets else [vectors]
    return layer, np.concatenate(tables)


def random_ids(num_ids, rows=40, length=9):
    ids = RNG.integers(1, num_ids + 1, (rows, length), dtype=np.int32)
    # Padding, in the middle too, and titles without a word.
    return np.where(RNG.random(ids.shape) < RNG.random((rows, 1)), 0, ids)


def test_the_mean_by_hand():
    layer = WordVectorMean(3, 2)
    layer.set_vectors([[1, 0], [0, 1], [4, 4]])
    mean, has_words = layer(tf.constant([[1, 2, 0], [3, 0, 0], [0, 0, 0], [1, 1, 2]]))
    np.testing.assert_allclose(mean, [[0.5, 0.5], [4, 4], [0, 0], [2 / 3, 1 / 3]])
    assert has_words.numpy().tolist() == [[1], [1], [0], [1]]
    layer.set_word_weights([3, 1, 0])
    mean, has_words = layer(tf.constant([[1, 2, 3], [3, 0, 0]]))
    np.testing.assert_allclose(mean, [[0.75, 0.25], [0, 0]])
    assert has_words.numpy().tolist() == [[1], [0]]
    layer.set_common([1, 0])
    mean, _ = layer(tf.constant([[1, 2, 3], [3, 0, 0]]))
    np.testing.assert_allclose(mean, [[0, 0.25], [0, 0]])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("num_words", "buckets"), [(20, 0), (20, 7), (0, 7)])
def test_it_equals_the_oracle(num_words, buckets, training):
    layer, vectors = random_layer(num_words, 5, buckets)
    ids = random_ids(num_words + buckets)
    mean, has_words = layer(tf.constant(ids), training=training)
    expected = oracle(ids, vectors, layer.word_weights.numpy(), layer.common.numpy())
    assert 0 < expected[1].mean() < 1
    np.testing.assert_allclose(mean, expected[0], atol=1e-5)
    np.testing.assert_array_equal(has_words, expected[1])
    assert (mean.numpy()[expected[1][:, 0] == 0] == 0).all()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(3, 4), (3, 0), (0, 4)])
def test_batches_without_a_word_are_zeros(shape, training):
    layer, _ = random_layer(4, 5, 2)
    mean, has_words = layer(tf.zeros(shape, tf.int32), training=training)
    assert mean.shape == (shape[0], 5)
    assert not mean.numpy().any()
    assert has_words.numpy().tolist() == [[0]] * shape[0]


def gradients(layer, ids, training=True):
    with tf.GradientTape() as tape:
        mean, _ = layer(tf.constant(ids), training=training)
        loss = tf.reduce_sum(mean**2)
    return tape.gradient(loss, layer.trainable_weights)


def test_gradients_are_of_the_rows_met_and_as_in_the_product():
    layer, _ = random_layer(20, 5, 7)
    ids = random_ids(27)
    sparse, dense = (gradients(layer, ids, training) for training in (True, False))
    assert all(isinstance(gradient, tf.IndexedSlices) for gradient in sparse)
    assert len(sparse[0].indices) == ((ids > 0) & (ids <= 20)).sum()
    for one, other in zip(sparse, dense):
        assert np.abs(other).max() > 0.01
        np.testing.assert_allclose(tf.convert_to_tensor(one), other, atol=1e-5)


def test_gradients_of_titles_without_a_word_are_zero():
    layer, _ = random_layer(4, 5, 2)
    # Id 1 has weight 0.
    for gradient in gradients(layer, [[0, 0], [1, 0]]):
        assert not tf.convert_to_tensor(gradient).numpy().any()


def test_frozen_words_are_not_trained_but_buckets_are():
    layer, _ = random_layer(4, 5, 2, train_words=False)
    assert [w.name for w in layer.trainable_weights] == ["bucket_vectors:0"]
    assert {w.name for w in layer.non_trainable_weights} == {
        "vectors:0",
        "word_weights:0",
        "common:0",
    }
    assert [w.name for w in WordVectorMean(4, 5).trainable_weights] == ["vectors:0"]


def test_training_moves_the_words_met_alone():
    layer = WordVectorMean(3, 2)
    before = np.asarray([[1, 2], [3, 4], [5, 6]], np.float32)
    layer.set_vectors(before)
    ids = tf.keras.Input([None], dtype="int32")
    model = tf.keras.Model(ids, layer(ids)[0])
    model.compile("sgd", "mse")
    model.fit(np.asarray([[1, 3], [3, 0]]), np.zeros((2, 2)), epochs=1, verbose=0)
    after = layer.vectors.numpy()
    assert (after[[0, 2]] < before[[0, 2]]).all()
    np.testing.assert_array_equal(after[1], before[1])


def test_a_saved_layer_gives_the_same(tmp_path):
    layer, _ = random_layer(20, 5, 7, train_words=False)
    ids = tf.keras.Input([None], dtype="int32")
    model = tf.keras.Model(ids, layer(ids))
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    batch = random_ids(27)
    for one, other in zip(model(batch), loaded(batch)):
        np.testing.assert_array_equal(one, other)
    assert loaded.layers[-1].get_config() == layer.get_config()
    assert not loaded.layers[-1].train_words


def test_an_id_beyond_the_tables_is_an_error():
    layer = WordVectorMean(3, 2, buckets=1)
    with pytest.raises(tf.errors.InvalidArgumentError):
        layer(tf.constant([[5]]))


@pytest.mark.parametrize(
    ("setter", "values", "message"),
    [
        (
            "set_vectors",
            np.zeros((2, 2)),
            r"vectors must have shape \(3, 2\), got \(2, 2\)",
        ),
        (
            "set_word_weights",
            [1, 1, 1],
            r"word_weights must have shape \(4,\), got \(3,\)",
        ),
        ("set_word_weights", [1, 1, -1, 1], "at least 0, got -1"),
        ("set_word_weights", [1, 1, np.nan, 1], "at least 0, got nan"),
        ("set_common", [1, 1], "length 1 or 0, got 1.41421"),
        ("set_common", [1, 0, 0], r"common must have shape \(2,\), got \(3,\)"),
    ],
)
def test_wrong_weights_are_refused(setter, values, message):
    layer = WordVectorMean(3, 2, buckets=1)
    with pytest.raises(ValueError, match=message):
        getattr(layer, setter)(values)
