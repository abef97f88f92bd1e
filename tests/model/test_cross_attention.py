"""The logit: symmetric, blind to padding, the same after a save."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.model.cross_attention import (
    CrossAttentionSettings,
    build_cross_attention,
)

WORDS = ["red", "mug", "blue", "lamp"]
SMALL = CrossAttentionSettings(word_dim=8, hidden_units=8, buckets=64, dropout=0.5)


@pytest.fixture(scope="module")
def model():
    tf.keras.utils.set_random_seed(0)
    return build_cross_attention(
        WORDS,
        np.eye(4, dtype=np.float32),
        idf=np.array([1.0, 2.0, 3.0, 4.0]),
        settings=SMALL,
    )


TITLES = tf.constant([["red", "mug", "x-200"], ["lamp", "", ""], ["", "", ""]])
OTHERS = tf.constant([["red", "cup"], ["lamp", "blue"], ["mug", ""]])


def test_the_logit_is_the_same_in_both_orders(model):
    there, back = model([TITLES, OTHERS]), model([OTHERS, TITLES])
    assert there.shape == (3, 1)
    np.testing.assert_allclose(there, back, atol=1e-6)
    assert np.ptp(there) > 1e-4


def test_padding_changes_nothing(model):
    wide = tf.pad(TITLES, [[0, 0], [0, 4]], constant_values="")
    np.testing.assert_allclose(
        model([wide, OTHERS]), model([TITLES, OTHERS]), atol=1e-6
    )


def test_a_pair_does_not_depend_on_its_batch(model):
    whole = model([TITLES, OTHERS])
    for row in range(3):
        alone = model([TITLES[row : row + 1], OTHERS[row : row + 1]])
        np.testing.assert_allclose(alone[0], whole[row], atol=1e-6)


def test_an_empty_batch_and_titles_without_a_word_are_answered(model):
    assert model([TITLES[:0], OTHERS[:0]]).shape == (0, 1)
    none = tf.constant([[""]])
    assert np.isfinite(model([none, none])).all()


def test_dropout_is_at_work_in_training_alone(model):
    pair = [TITLES, OTHERS]
    assert not np.allclose(model(pair, training=True), model(pair, training=True))
    np.testing.assert_array_equal(model(pair), model(pair))


def test_a_saved_model_answers_the_same(model, tmp_path):
    model.save(tmp_path / "model.keras")
    again = tf.keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        again([TITLES, OTHERS]), model([TITLES, OTHERS]), atol=1e-6
    )


def test_the_given_vectors_stay_while_the_rest_is_trained(model):
    fixed = {weight.name for weight in model.non_trainable_weights}
    assert fixed == {"prints:0", "vectors:0", "idf:0", "sketches:0"}
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model([TITLES, OTHERS]) ** 2)
    for gradient in tape.gradient(loss, model.trainable_weights):
        assert np.isfinite(tf.convert_to_tensor(gradient)).all()


@pytest.mark.parametrize("name", ["word_dim", "hidden_units", "buckets"])
def test_sizes_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        CrossAttentionSettings(**{name: 0})


def test_a_dropout_of_all_is_refused():
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\), got 1"):
        CrossAttentionSettings(dropout=1.0)
