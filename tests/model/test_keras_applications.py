"""Networks of tf.keras.applications as towers; nothing is downloaded."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.errors import ModelError
from simprod_tf.model import keras_applications
from simprod_tf.model.image_tower import ImageTower, build_image_tower
from simprod_tf.model.keras_applications import (
    KerasPreprocess,
    application_named,
    application_size,
    build_application,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def mobilenet():
    """The narrowest of them, for 32 pixels, with random weights."""
    tf.keras.utils.set_random_seed(0)
    return build_image_tower("keras:mobilenetV3small", weights="random", image_size=32)


def every_network():
    return [one for one in dir(tf.keras.applications) if one[0].isupper()]


def test_names_are_found_whatever_their_case():
    assert application_named("efficientnetv2b0") == "EfficientNetV2B0"
    with pytest.raises(ValueError, match="no network 'ResNet51'; close are: .*ResNet"):
        application_named("ResNet51")
    with pytest.raises(ValueError, match="close are: ConvNeXtBase, .*, Xception"):
        application_named("@@@@")


def test_every_network_has_preprocessing_of_its_family():
    assert len(every_network()) > 60
    for name in every_network():
        family = getattr(tf.keras.applications, keras_applications._family(name))
        assert callable(family.preprocess_input), name


def test_sizes_are_those_of_training():
    sizes = {name: application_size(name) for name in every_network()}
    assert set(keras_applications.SIZES) <= set(sizes)
    assert sizes["ResNet50"] == sizes["EfficientNetB0"] == 224
    assert (sizes["EfficientNetB7"], sizes["InceptionV3"]) == (600, 299)


@pytest.mark.parametrize("family", ["resnet", "mobilenet", "densenet", "convnext"])
def test_preprocessing_is_that_of_keras(family):
    module = getattr(tf.keras.applications, family)
    # On arrays Keras works in place, by other code than on tensors.
    wanted = module.preprocess_input(PIXELS.astype(np.float32))
    found = KerasPreprocess(family)(tf.constant(PIXELS))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    assert found.dtype == tf.float32


def test_preprocessing_of_resnet_is_as_worked_by_hand():
    found = KerasPreprocess("resnet")(tf.constant([[[[10.0, 20.0, 30.0]]]]))
    wanted = [30 - 103.939, 20 - 116.779, 10 - 123.68]
    np.testing.assert_allclose(found[0, 0, 0], wanted, rtol=1e-6)


def test_a_network_is_a_tower(mobilenet):
    assert (mobilenet.name, mobilenet.dim) == ("mobilenetv3small", 576)
    assert (mobilenet.image_size, mobilenet.resize_to) == (32, 32)
    assert mobilenet.details["spec"] == "keras:MobileNetV3Small"
    features = mobilenet.model(PIXELS).numpy()
    assert features.shape == (2, 576)
    assert np.isfinite(features).all()
    np.testing.assert_allclose(
        mobilenet.model(PIXELS[:1]), features[:1], rtol=1e-3, atol=1e-5
    )


def test_a_network_saved_and_loaded_is_the_same(mobilenet, tmp_path):
    mobilenet.save(tmp_path)
    again = ImageTower.load(tmp_path)
    assert again.fingerprint == mobilenet.fingerprint
    np.testing.assert_array_equal(again.model(PIXELS), mobilenet.model(PIXELS))


def test_weights_of_a_file_are_those_it_holds(mobilenet, tmp_path):
    path = tmp_path / "a_notop.h5"
    mobilenet.model.get_layer("MobilenetV3small_features").save_weights(path)
    tower = build_image_tower(
        "keras:MobileNetV3Small", weights=str(path), image_size=32
    )
    np.testing.assert_array_equal(tower.model(PIXELS), mobilenet.model(PIXELS))
    assert tower.fingerprint == mobilenet.fingerprint
    assert tower.details["weights"] == "a_notop.h5"
    assert len(tower.details["sha256"]) == 64


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "a_notop.h5"
    other = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    other.build([None, 2])
    other.save_weights(path)
    with pytest.raises(ModelError, match="hold the weights of VGG16 without its top"):
        build_application("VGG16", weights=str(path), image_size=32)


def test_a_layer_by_name_is_averaged_over_the_picture(mobilenet):
    tower = build_image_tower(
        "keras:MobileNetV3Small",
        weights="random",
        image_size=32,
        output_layer="expanded_conv_2/Add",
    )
    assert tower.dim == 24
    assert tower.fingerprint != mobilenet.fingerprint
    with pytest.raises(ValueError, match="has no layer 'Ad'; close are"):
        build_application(
            "MobileNetV3Small", weights="random", image_size=32, output_layer="Ad"
        )


def test_weights_that_are_not_there_are_said():
    with pytest.raises(ModelError, match="no file of weights none.h5; give imagenet"):
        build_application("MobileNetV3Small", weights="none.h5")


def test_without_a_network_it_says_where_the_file_belongs(monkeypatch):
    def no_network(**_):
        # As Keras words it, and the class that it raises.
        raise Exception(
            "URL fetch failure on https://storage.example/v3/weights_no_top.h5: "
            "None -- [Errno -2] Name or service not known"
        )

    # Its module is asked for the family of its preprocessing.
    no_network.__module__ = "keras.src.applications.mobilenet_v3"
    monkeypatch.setattr(tf.keras.applications, "MobileNetV3Small", no_network)
    with pytest.raises(ModelError) as found:
        build_application("MobileNetV3Small")
    message = str(found.value)
    assert "from https://storage.example/v3/weights_no_top.h5." in message
    assert ".keras/models/weights_no_top.h5, where Keras looks for it" in message
    assert "`--image-weights random`" in message


@pytest.mark.slow
def test_an_efficientnet_of_a_file_is_scaled_as_keras_scales_imagenet(tmp_path):
    def network():
        return tf.keras.applications.EfficientNetB0(
            include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg"
        )

    source = network()
    weights = source.get_weights()
    # Mean and variance of the input come first.
    mean, variance = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    source.set_weights([mean, variance, *weights[2:]])
    source.save_weights(tmp_path / "b0_notop.h5")
    tower = build_application(
        "EfficientNetB0", weights=str(tmp_path / "b0_notop.h5"), image_size=32
    )
    features = tower.get_layer("efficientnetb0_features")
    kind = tf.keras.layers.Normalization
    layer = next(one for one in features.layers if isinstance(one, kind))
    part = tf.keras.Model(features.input, layer.output)
    wanted = (PIXELS / 255.0 - mean) / np.sqrt(variance) / np.sqrt(variance)
    np.testing.assert_allclose(part(PIXELS), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["EfficientNetV2B0", "ResNet50"])
def test_larger_networks_keep_features_and_fingerprint(name, tmp_path):
    tower = build_image_tower(f"keras:{name}", weights="random", image_size=64)
    tower.save(tmp_path)
    again = ImageTower.load(tmp_path)
    pixels = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(again.model(pixels), tower.model(pixels))
    assert again.fingerprint == tower.fingerprint
