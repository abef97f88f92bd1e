"""Paths of layers in nested models, and patterns on them."""

from __future__ import annotations

import pytest
import tensorflow as tf

from simprod_tf.training.layer_path import layer_paths, matches, weight_paths


def nested():
    """Two towers whose layers have equal names, and a head."""

    def tower(name):
        x = tf.keras.Input((2,))
        return tf.keras.Model(x, tf.keras.layers.Dense(3, name="conv1")(x), name=name)

    inputs = [tf.keras.Input((2,), name="a"), tf.keras.Input((2,), name="b")]
    both = [tower("left")(inputs[0]), tower("right")(inputs[1])]
    joined = tf.keras.layers.Concatenate(name="fused")(both)
    out = tf.keras.layers.Dense(1, name="projection")(joined)
    return tf.keras.Model(inputs, out, name="outer")


def test_layers_of_equal_names_have_paths_of_their_own():
    model = nested()
    assert sorted(layer_paths(model)) == ["left/conv1", "projection", "right/conv1"]
    assert sorted(weight_paths(model)) == [
        f"{layer}/{name}"
        for layer in ("left/conv1", "projection", "right/conv1")
        for name in ("bias", "kernel")
    ]


def test_paths_follow_the_order_of_the_variables():
    model = nested()
    paths = weight_paths(model)
    right = model.get_layer("right").get_layer("conv1")
    row = next(
        row for row, one in enumerate(model.trainable_variables) if one is right.kernel
    )
    assert paths[row] == "right/conv1/kernel"


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("small", True),
        ("conv[45]", True),
        ("small/conv4", True),
        (".*bias", True),
        ("encoder/small", True),
        ("conv", False),
        ("mall", False),
        ("small/bias", False),
    ],
)
def test_a_pattern_fits_whole_parts_of_a_path(pattern, fits):
    assert matches(pattern, "encoder/small/conv4/bias") == fits


def test_what_is_no_regular_expression_is_refused():
    with pytest.raises(ValueError, match=r"'conv\[4' is no regular expression"):
        matches("conv[4", "a/conv4")
