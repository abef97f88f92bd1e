"""AlexNet: the published sizes, and the network that weights make."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.errors import ModelError
from simprod_tf.model.alexnet import alexnet_from, build_alexnet
from simprod_tf.model.architecture import usual_preprocessing, weight_shapes
from simprod_tf.model.preprocessing import (
    CAFFE_NORM,
    Preprocessing,
    caffe_preprocessing,
)
from simprod_tf.model.regularisation import EpochDropout, reset_generators
from simprod_tf.model.weights import Weights, import_weights

CONVOLUTIONS = {"conv1", "conv2", "conv3", "conv4", "conv5"}


def parameters(model):
    return {
        layer.name: sum(int(np.prod(weight.shape)) for weight in layer.weights)
        for layer in model.layers
        if layer.weights
    }


def weights_of(model, architecture="small", preprocessing=None, response_norm=None):
    arrays = {
        f"{layer.name}/{kind}": array
        for layer in model.layers
        for kind, array in zip(("kernel", "bias"), layer.get_weights())
    }
    preprocessing = preprocessing or usual_preprocessing(architecture)
    source = {"file": "w.npz"}
    return Weights(architecture, preprocessing, arrays, source, response_norm)


def pictures(side=64, count=2):
    return np.random.default_rng(0).uniform(0, 255, (count, side, side, 3))


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


@pytest.mark.parametrize("preset", ["krizhevsky2012", "torchvision", "small"])
def test_the_layers_have_the_shapes_that_files_are_checked_for(preset):
    model = build_alexnet(preset)
    shapes = weight_shapes(preset)
    found = {
        f"{layer.name}/{kind}": tuple(weight.shape)
        for layer in model.layers
        for kind, weight in zip(("kernel", "bias"), layer.weights)
    }
    assert found == {name: shapes[name] for name in found}
    assert model.output_shape[1] == shapes["fc6/kernel"][0]


def test_weights_make_the_same_network_up_to_their_last_layer():
    first = build_alexnet("small", output_layer="fc7")
    second = alexnet_from(weights_of(first))
    assert second.name == "alexnet_small_fc7"
    assert np.allclose(first(pictures()), second(pictures()), atol=1e-5)
    pool5 = alexnet_from(weights_of(first), output_layer="pool5")
    between = tf.keras.Model(first.input, first.get_layer("pool5").output)
    assert np.allclose(pool5(pictures()), between(pictures()), atol=1e-5)


def test_convolutions_alone_give_pool5_and_the_log_says_so(caplog):
    with caplog.at_level(logging.WARNING, "simprod_tf"):
        model = alexnet_from(weights_of(build_alexnet("small")))
    assert model.name == "alexnet_small_pool5"
    assert "w.npz has no weights of fc7: pool5 is used" in caplog.text


def test_the_preprocessing_of_the_weights_is_part_of_the_network():
    model = build_alexnet("small")
    bgr = Preprocessing("BGR", (1, 2, 3), (2, 2, 2), 64, 64)
    found = alexnet_from(weights_of(model, preprocessing=bgr))(pictures()).numpy()
    own = usual_preprocessing("small")
    # The same values reach conv1 of the first model.
    reversed_ = (pictures()[..., ::-1] - bgr.mean) / bgr.std
    expected = model(reversed_ * own.std + own.mean).numpy()
    assert np.allclose(found, expected, atol=1e-4 * expected.max())


def test_the_constants_of_the_weights_reach_both_normalisations():
    weights = weights_of(
        build_alexnet("krizhevsky2012"),
        "krizhevsky2012",
        caffe_preprocessing(),
        CAFFE_NORM,
    )
    model = alexnet_from(weights, output_layer="pool5")
    for name in ("norm1", "norm2"):
        layer = model.get_layer(name)
        assert (layer.bias, layer.alpha) == (1.0, 2e-5)
    assert model.get_layer("standardize").channels == "BGR"


def test_a_saved_network_gives_the_same_features(tmp_path):
    model = build_alexnet("krizhevsky2012", response_norm=CAFFE_NORM)
    model.save(tmp_path / "tower.keras")
    again = tf.keras.models.load_model(tmp_path / "tower.keras")
    images = pictures(227, 1)
    assert np.allclose(model(images), again(images), rtol=1e-5)
    assert again.get_layer("norm1").bias == 1.0


def test_weights_that_do_not_reach_the_output_are_refused():
    weights = weights_of(build_alexnet("small", output_layer="fc6"))
    with pytest.raises(ModelError, match=r"w.npz has no fc7/kernel.*layer fc6"):
        alexnet_from(weights, output_layer="fc7")


def test_weights_of_another_network_are_refused():
    arrays = {
        name: np.zeros(shape) for name, shape in weight_shapes("squeezenet").items()
    }
    weights = Weights("squeezenet", caffe_preprocessing(), arrays, {"file": "s.npz"})
    with pytest.raises(ModelError, match="s.npz holds weights of squeezenet.*AlexNet"):
        alexnet_from(weights)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="krizhevsky2012, torchvision, small.*'big'"):
        build_alexnet("big")
    with pytest.raises(ValueError, match="pool5, fc6, fc7, got 'fc8'"):
        build_alexnet("small", output_layer="fc8")


@pytest.mark.real_data
def test_the_imagenet_convolutions_load_and_tell_pictures_apart(real_data):
    file = real_data / "weights" / "alexnet_conv_torchvision.npz"
    tower = alexnet_from(import_weights(file, architecture="torchvision"))
    rng = np.random.default_rng(0)
    noise = rng.random((1, 224, 224, 3)) * 255
    grey = np.full((1, 224, 224, 3), 128.0)
    features = tower(np.concatenate([noise, noise[:, :, ::-1], grey])).numpy()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > unit[0] @ unit[2]


def test_what_dropout_leaves_out_comes_again_with_the_epoch():
    model = build_alexnet("small", output_layer="fc7", dropout=0.5)
    drops = [layer for layer in model.layers if isinstance(layer, EpochDropout)]
    assert [layer.name for layer in drops] == ["drop_fc6", "drop_fc7"]
    assert not np.array_equal(*(one.generator.state.numpy() for one in drops))
    found = []
    for epoch in (1, 2, 1):
        reset_generators(model, seed=3, epoch=epoch)
        found.append(model(pictures(), training=True).numpy())
    assert not np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
