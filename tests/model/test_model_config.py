"""Configs that are equal for equal models, and differ with what is computed."""

from __future__ import annotations

import json

import pytest
import tensorflow as tf

from simprod_tf.model.model_config import layer_configs

layers = tf.keras.layers


def branches(rate=0.5, order=(0, 1), activation="relu"):
    """Returns a model with layers that Keras names, wired in `order`."""
    image = tf.keras.Input([4])
    inner = tf.keras.Input([4])
    part = tf.keras.Model(inner, layers.Dense(3, activation)(inner))
    both = [part(image), layers.Dense(3)(layers.Dropout(rate)(image))]
    x = layers.Concatenate()([both[one] for one in order])
    return tf.keras.Model(image, tf.nn.relu(x) * 2.0)


def text_of(model):
    return json.dumps(layer_configs(model), sort_keys=True)


def test_names_that_keras_counts_up_make_no_difference():
    first, second = branches(), branches()
    assert [one.name for one in first.layers] != [one.name for one in second.layers]
    assert text_of(first) == text_of(second)


def test_freezing_makes_no_difference():
    frozen = branches()
    frozen.trainable = False
    assert text_of(frozen) == text_of(branches())


def test_saving_and_loading_makes_no_difference(tmp_path):
    model = branches()
    model.save(tmp_path / "a.keras")
    again = tf.keras.models.load_model(tmp_path / "a.keras", compile=False)
    assert text_of(again) == text_of(model)


def test_named_inputs_make_no_difference(tmp_path):
    inputs = {name: tf.keras.Input([2], name=name) for name in "ba"}
    x = layers.Subtract()([inputs["a"], inputs["b"]])
    model = tf.keras.Model(inputs, x)
    model.save(tmp_path / "a.keras")
    again = tf.keras.models.load_model(tmp_path / "a.keras", compile=False)
    assert text_of(again) == text_of(model)


@pytest.mark.parametrize(
    "change", [{"rate": 0.4}, {"order": (1, 0)}, {"activation": "tanh"}]
)
def test_settings_and_wiring_make_a_difference(change):
    assert text_of(branches(**change)) != text_of(branches())
