"""The picture layers against hand-worked values and TensorFlow's own op."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.model.picture_layers import (
    GroupedConv2D,
    LocalResponseNorm,
    Standardize,
    standardize_layer,
)
from simprod_tf.model.preprocessing import Preprocessing


def rebuilt(layer):
    return type(layer).from_config(layer.get_config())


def test_pixels_are_standardised():
    layer = Standardize((10.0, 20.0, 30.0), (1.0, 2.0, 5.0))
    out = layer(np.array([[[[11, 18, 40]]]], np.uint8)).numpy()
    assert out.tolist() == [[[[1.0, -1.0, 2.0]]]]


def test_bgr_reverses_the_channels_before_the_mean():
    expects = Preprocessing("BGR", (1, 2, 3), (1, 1, 1), 1, 1)
    pixels = np.array([[[[10, 20, 30]]]], np.uint8)
    for layer in (standardize_layer(expects), rebuilt(standardize_layer(expects))):
        assert layer(pixels).numpy().tolist() == [[[[29.0, 18.0, 7.0]]]]


def test_an_unknown_order_of_channels_is_refused():
    with pytest.raises(ValueError, match="RGB or BGR, got 'GBR'"):
        Standardize((0.0,) * 3, (1.0,) * 3, channels="GBR")


# 12 channels are no whole number of blocks: TensorFlow's own op.
@pytest.mark.parametrize("depth", [8, 12, 24])
def test_response_norm_divides_by_five_neighbouring_channels(depth):
    x = np.random.default_rng(0).normal(0, 50, (2, 3, 5, depth))
    expected = np.empty_like(x)
    for c in range(depth):
        near = x[..., max(0, c - 2) : c + 3]
        expected[..., c] = x[..., c] / (2 + 1e-4 * (near**2).sum(-1)) ** 0.75
    found = LocalResponseNorm()(tf.constant(x, tf.float32)).numpy()
    assert np.allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(("bias", "alpha"), [(2.0, 1e-4), (1.0, 2e-5)])
def test_response_norm_equals_tensorflows_op_and_its_gradient(bias, alpha):
    x = tf.constant(np.random.default_rng(1).normal(0, 200, (2, 7, 6, 96)), tf.float32)
    layer = rebuilt(LocalResponseNorm(bias, alpha))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        found = layer(x)
        expected = tf.nn.local_response_normalization(x, 2, bias, alpha, 0.75)
        of_found, of_expected = tf.reduce_sum(found**2), tf.reduce_sum(expected**2)
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-6)
    gradient = tape.gradient(of_found, x).numpy()
    scale = np.abs(gradient).max()
    assert np.allclose(gradient, tape.gradient(of_expected, x), atol=1e-5 * scale)


def test_response_norm_stays_finite_at_the_ends():
    layer = LocalResponseNorm()
    x = tf.constant([0.0, 1e-30, 1e15, -1e15] * 4, shape=[1, 1, 1, 16])
    with tf.GradientTape() as tape:
        tape.watch(x)
        out = layer(x)
    assert np.isfinite(out.numpy()).all()
    assert np.isfinite(tape.gradient(out, x).numpy()).all()
    assert layer(tf.zeros([0, 4, 4, 16])).shape == (0, 4, 4, 16)


def test_response_norm_refuses_a_bias_of_zero():
    with pytest.raises(ValueError, match="bias must be above 0"):
        LocalResponseNorm(bias=0.0)


def test_groups_see_their_own_channels_alone():
    layer = GroupedConv2D(2, 3, groups=2)
    x = np.random.default_rng(0).random((1, 4, 4, 4)).astype(np.float32)
    layer(x)
    layer.set_weights(
        [np.ones((3, 3, 2, 2), np.float32), np.array([0.5, -4.0], np.float32)]
    )
    padded = np.pad(x[0], ((1, 1), (1, 1), (0, 0)))
    out = layer(x).numpy()[0]
    for row, column in ((0, 0), (2, 1)):
        patch = padded[row : row + 3, column : column + 3]
        assert np.isclose(out[row, column, 0], patch[..., :2].sum() + 0.5, rtol=1e-5)
        negative = patch[..., 2:].sum() - 4
        assert np.isclose(out[row, column, 1], max(negative, 0), rtol=1e-5)


def test_groups_have_a_gradient_on_a_cpu():
    layer = rebuilt(GroupedConv2D(4, 3, groups=2))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.ones([1, 5, 5, 4])))
    kernel, bias = tape.gradient(loss, layer.trainable_weights)
    assert kernel.shape == (3, 3, 2, 4)
    assert bias.shape == (4,)
    assert np.isfinite(kernel.numpy()).all()
