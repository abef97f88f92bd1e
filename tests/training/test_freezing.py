"""Freezing by layer."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.training.freezing import set_trainable


def model_of_two():
    layers = tf.keras.layers
    x = tf.keras.Input((4,))
    y = layers.BatchNormalization(name="norm1")(layers.Dense(4, name="fc1")(x))
    tower = tf.keras.Model(x, layers.Dense(4, name="fc2")(y), name="small")
    inputs = tf.keras.Input((4,))
    return tf.keras.Model(
        inputs, layers.Dense(1, name="projection")(tower(inputs)), name="encoder"
    )


def fit_a_step(model):
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    model.fit(rng.normal(3, 2, (8, 4)), rng.normal(size=(8, 1)), verbose=0)


def changed(model, step):
    before = [one.numpy() for one in model.weights]
    step(model)
    pairs = zip(model.weights, before)
    return {one.name for one, old in pairs if not np.array_equal(one.numpy(), old)}


def test_only_what_fits_is_trained():
    model = model_of_two()
    assert set_trainable(model, "small/fc2") == ("small/fc2",)
    assert changed(model, fit_a_step) == {"fc2/kernel:0", "fc2/bias:0"}


def test_frozen_batch_norm_keeps_its_statistics_and_a_trained_one_does_not():
    model = model_of_two()
    set_trainable(model, "projection")
    assert not any("norm1" in name for name in changed(model, fit_a_step))
    set_trainable(model, "norm1")
    assert "norm1/moving_mean:0" in changed(model, fit_a_step)


def test_it_unfreezes_too():
    model = model_of_two()
    model.trainable = False
    assert set_trainable(model, "small|projection") == (
        "small/fc1",
        "small/norm1",
        "small/fc2",
        "projection",
    )
    assert len(model.trainable_variables) == 8


def test_without_a_layer_that_fits_it_names_those_there_are():
    with pytest.raises(
        ValueError,
        match="no layer with weights fits 'fc'; there are small/fc1, small/norm1, "
        "small/fc2, projection",
    ):
        set_trainable(model_of_two(), "fc")


def test_outside_of_the_named_models_all_stays_as_it_is():
    model = model_of_two()
    model.get_layer("projection").trainable = False
    assert set_trainable(model, ".*/fc2|fc2", within=["small"]) == ("small/fc2",)
    assert changed(model, fit_a_step) == {"fc2/kernel:0", "fc2/bias:0"}
    model.get_layer("projection").trainable = True
    set_trainable(model, "small/fc1", within=["small"])
    assert changed(model, fit_a_step) == {
        "fc1/kernel:0",
        "fc1/bias:0",
        "projection/kernel:0",
        "projection/bias:0",
    }
    with pytest.raises(ValueError, match="there are small/fc1, small/norm1, small/fc2"):
        set_trainable(model, "projection", within=["small"])
