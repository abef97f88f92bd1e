"""AlexNet: the published sizes, a convolution by hand, and its weights."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.errors import ModelError
from simprod_tf.model.alexnet import (
    GroupedConv2D,
    LocalResponseNorm,
    Standardize,
    build_alexnet,
    load_alexnet_weights,
    preset_named,
)

CONVOLUTIONS = {"conv1", "conv2", "conv3", "conv4", "conv5"}


def parameters(model):
    return {
        layer.name: sum(int(np.prod(weight.shape)) for weight in layer.weights)
        for layer in model.layers
        if layer.weights
    }


def test_the_original_has_the_papers_sizes():
    model = build_alexnet("krizhevsky2012", output_layer="fc7")
    shapes = {layer.name: layer.output_shape[1:] for layer in model.layers}
    assert shapes["conv1"] == (55, 55, 96)
    assert shapes["max1"] == (27, 27, 96)
    assert shapes["conv2"] == (27, 27, 256)
    assert shapes["conv3"] == (13, 13, 384)
    assert shapes["max5"] == (6, 6, 256)
    assert shapes["fc7"] == (4096,)
    # Two groups halve the depth of the kernels of conv2, conv4 and conv5.
    assert parameters(model) == {
        "conv1": 11 * 11 * 3 * 96 + 96,
        "conv2": 5 * 5 * 48 * 256 + 256,
        "conv3": 3 * 3 * 256 * 384 + 384,
        "conv4": 3 * 3 * 192 * 384 + 384,
        "conv5": 3 * 3 * 192 * 256 + 256,
        "fc6": 9216 * 4096 + 4096,
        "fc7": 4096 * 4096 + 4096,
    }


def test_the_one_group_form_has_torchvisions_sizes():
    model = build_alexnet("torchvision", output_layer="pool5")
    assert model.input_shape == (None, 224, 224, 3)
    assert model.output_shape == (None, 9216)
    # The convolutions' share of the 61,100,840 parameters that torchvision states.
    assert sum(parameters(model).values()) == 2_469_696


def test_small_takes_64_pixels():
    model = build_alexnet("small")
    assert model.input_shape == (None, 64, 64, 3)
    assert model.output_shape == (None, 576)
    assert set(parameters(model)) == CONVOLUTIONS


def test_pixels_are_standardised():
    layer = Standardize((10.0, 20.0, 30.0), (1.0, 2.0, 5.0))
    out = layer(np.array([[[[11, 18, 40]]]], np.uint8)).numpy()
    assert out.tolist() == [[[[1.0, -1.0, 2.0]]]]


def test_response_norm_divides_by_five_neighbouring_channels():
    x = np.arange(1.0, 9.0).reshape(1, 1, 1, 8)
    expected = []
    for c in range(8):
        near = x[0, 0, 0, max(0, c - 2) : c + 3]
        expected.append(x[0, 0, 0, c] / (2 + 1e-4 * (near**2).sum()) ** 0.75)
    found = LocalResponseNorm()(tf.constant(x, tf.float32)).numpy().ravel()
    assert np.allclose(found, expected, rtol=1e-6)


def test_groups_see_their_own_channels_alone():
    layer = GroupedConv2D(2, 3, groups=2)
    x = np.random.default_rng(0).random((1, 4, 4, 4)).astype(np.float32)
    layer(x)
    layer.set_weights([np.ones((3, 3, 2, 2), np.float32), np.zeros(2, np.float32)])
    padded = np.pad(x[0], ((1, 1), (1, 1), (0, 0)))
    out = layer(x).numpy()[0]
    for row, column in ((0, 0), (2, 1)):
        patch = padded[row : row + 3, column : column + 3]
        assert np.isclose(out[row, column, 0], patch[..., :2].sum(), rtol=1e-5)
        assert np.isclose(out[row, column, 1], patch[..., 2:].sum(), rtol=1e-5)


def test_groups_have_a_gradient_on_a_cpu():
    layer = GroupedConv2D(4, 3, groups=2)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.ones([1, 5, 5, 4])))
    kernel, bias = tape.gradient(loss, layer.trainable_weights)
    assert kernel.shape == (3, 3, 2, 4)
    assert bias.shape == (4,)
    assert np.isfinite(kernel.numpy()).all()


def saved_weights(model, path, rename=None):
    arrays = {}
    for layer in model.layers:
        if layer.weights:
            name = (rename or {}).get(layer.name, layer.name)
            arrays[f"{name}/kernel"], arrays[f"{name}/bias"] = layer.get_weights()
    np.savez(path, **arrays)


@pytest.mark.parametrize("names", ["ours", "Conv_i"])
def test_weights_come_back(tmp_path, names):
    rename = {f"conv{i + 1}": f"Conv_{i}" for i in range(5)}
    first, second = build_alexnet("small"), build_alexnet("small")
    saved_weights(first, tmp_path / "w.npz", rename if names == "Conv_i" else None)
    picture = np.random.default_rng(0).random((1, 64, 64, 3)) * 255
    assert not np.allclose(first(picture), second(picture))
    load_alexnet_weights(second, tmp_path / "w.npz")
    assert np.allclose(first(picture), second(picture))


def test_weights_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "w.npz"
    saved_weights(build_alexnet("small"), path)
    with pytest.raises(
        ModelError, match="has no fc6/kernel; .*pool5 needs the convolut"
    ):
        load_alexnet_weights(build_alexnet("small", output_layer="fc6"), path)
    with pytest.raises(ModelError, match="conv1 needs shapes .*another preset"):
        load_alexnet_weights(build_alexnet("torchvision"), path)
    with pytest.raises(ModelError, match="cannot be read as weights"):
        load_alexnet_weights(build_alexnet("small"), tmp_path / "none.npz")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be read as weights"):
        load_alexnet_weights(build_alexnet("small"), path)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="krizhevsky2012, torchvision, small.*'big'"):
        preset_named("big")
    with pytest.raises(ValueError, match="pool5, fc6, fc7, got 'fc8'"):
        build_alexnet("small", output_layer="fc8")


@pytest.mark.real_data
def test_the_imagenet_convolutions_load_and_tell_pictures_apart(real_data):
    tower = build_alexnet("torchvision")
    load_alexnet_weights(tower, real_data / "weights" / "alexnet_conv_torchvision.npz")
    rng = np.random.default_rng(0)
    noise = rng.random((1, 224, 224, 3)) * 255
    grey = np.full((1, 224, 224, 3), 128.0)
    features = tower(np.concatenate([noise, noise[:, :, ::-1], grey])).numpy()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > unit[0] @ unit[2]
