"""SqueezeNet: the published sizes, the ceiling pools, and real classes of photos."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simprod_tf.errors import ModelError
from simprod_tf.model.architecture import usual_preprocessing, weight_shapes
from simprod_tf.model.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from simprod_tf.model.regularisation import reset_generators
from simprod_tf.model.squeezenet import build_squeezenet, squeezenet_from
from simprod_tf.model.weights import Weights, import_weights

# Places in ImageNet's 1,000 classes of the Grocery Store's classes that are among them.
IMAGENET_CLASS = {
    "Granny-Smith": 948, "Orange": 950, "Lemon": 951, "Pineapple": 953, "Banana": 954,
    "Pomegranate": 957, "Cabbage": 936, "Zucchini": 939, "Cucumber": 943,
    "Green-Bell-Pepper": 945, "Orange-Bell-Pepper": 945, "Red-Bell-Pepper": 945,
    "Yellow-Bell-Pepper": 945, "Brown-Cap-Mushroom": 947,
}  # fmt: skip


def random_weights(without=()):
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.normal(0, 0.1, shape)
        for name, shape in weight_shapes("squeezenet").items()
        if name.partition("/")[0] not in without
    }
    preprocessing = usual_preprocessing("squeezenet")
    return Weights("squeezenet", preprocessing, arrays, {"file": "s.npz"})


def test_the_layers_have_the_papers_sizes():
    model = build_squeezenet(output_layer="classes")
    shapes = {layer.name: layer.output_shape[1:] for layer in model.layers}
    # Table 1 of the paper; 227 pixels and no padding give 111, 55, 27, 13.
    assert shapes["conv1"] == (111, 111, 96)
    assert shapes["max1"] == (55, 55, 96)
    assert shapes["fire4"] == (55, 55, 256)
    assert shapes["max_fire4"] == (27, 27, 256)
    assert shapes["fire8"] == (27, 27, 512)
    assert shapes["fire9"] == (13, 13, 512)
    assert model.output_shape == (None, 1000)
    found = {
        f"{layer.name}/{kind}": tuple(weight.shape)
        for layer in model.layers
        for kind, weight in zip(("kernel", "bias"), layer.weights)
    }
    assert found == weight_shapes("squeezenet")


def test_a_last_window_may_hang_over_an_even_side():
    sizes = replace(usual_preprocessing("squeezenet"), image_size=224)
    model = build_squeezenet(preprocessing=sizes)
    pool = model.get_layer("max_fire4")
    assert pool.input_shape[1:3] == (54, 54)
    x = np.random.default_rng(0).random((1, 54, 54, 256)).astype(np.float32)
    found = pool(x).numpy()[0]
    # Caffe: ceil((54 - 3) / 2) + 1 windows, of which the last covers two rows.
    assert found.shape[:2] == (27, 27)
    for row, column in ((0, 0), (3, 5), (26, 26), (0, 26)):
        window = x[0, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        assert np.array_equal(found[row, column], window.max(axis=(0, 1)))


def test_the_features_are_the_mean_over_fire9():
    weights = random_weights()
    model = squeezenet_from(weights)
    inside = tf.keras.Model(model.input, model.get_layer("fire9").output)
    images = np.random.default_rng(0).uniform(0, 255, (2, 227, 227, 3))
    features = model(images).numpy()
    assert features.shape == (2, 512)
    expected = inside(images).numpy().mean(axis=(1, 2))
    assert np.allclose(features, expected, rtol=1e-4, atol=1e-4 * expected.max())


def test_what_dropout_leaves_out_comes_again_with_the_epoch():
    sizes = replace(usual_preprocessing("squeezenet"), image_size=63)
    model = build_squeezenet(dropout=0.5, preprocessing=sizes)
    image = np.random.default_rng(0).uniform(0, 255, (1, 63, 63, 3))
    found = []
    for epoch in (1, 2, 1):
        reset_generators(model, seed=3, epoch=epoch)
        found.append(model(image, training=True).numpy())
    assert not np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_features_need_no_classes_layer_and_classes_do():
    weights = random_weights(without=("conv10",))
    assert squeezenet_from(weights).output_shape == (None, 512)
    with pytest.raises(ModelError, match=r"s.npz has no conv10/kernel.*fire9"):
        squeezenet_from(weights, output_layer="classes")


def test_other_outputs_and_other_weights_are_refused():
    with pytest.raises(ValueError, match="fire9, classes, got 'fc7'"):
        build_squeezenet(output_layer="fc7")
    with pytest.raises(ValueError, match="fire9, classes, got 'fc7'"):
        squeezenet_from(random_weights(), output_layer="fc7")
    arrays = {name: np.zeros(shape) for name, shape in weight_shapes("small").items()}
    small = Weights("small", usual_preprocessing("small"), arrays, {"file": "w.npz"})
    with pytest.raises(ModelError, match="w.npz holds weights of small, .*squeezenet"):
        squeezenet_from(small)


def photo(path):
    with Image.open(path) as image:
        square = image.convert("RGB").resize((256, 256), Image.Resampling.BILINEAR)
    return np.asarray(square.crop((14, 14, 241, 241)))


@pytest.fixture(scope="module")
def photos(real_data):
    """The pixels and ImageNet class of web-shop pictures and of validation photos."""
    folder = real_data / "grocery_store"
    with open(folder / "classes.csv", newline="", encoding="utf-8") as file:
        classes = {row["fine_id"]: row for row in csv.DictReader(file)}
    with open(folder / "val.csv", newline="", encoding="utf-8") as file:
        val = [
            (row["path"], classes[row["fine_id"]]["name"])
            for row in csv.DictReader(file)
        ]
    iconic = [(row["iconic_image"], row["name"]) for row in classes.values()]
    return {
        name: [
            (photo(folder / path), IMAGENET_CLASS[kind])
            for path, kind in listed
            if kind in IMAGENET_CLASS
        ]
        for name, listed in (("iconic", iconic), ("val", val))
    }


@pytest.fixture(scope="module")
def top_5(real_data, photos):
    """Returns the share of pictures whose class is among the five highest scores."""
    file = real_data / "weights" / "squeezenet_v1.0_caffe_oihw.npz"

    def share(kind: str, preprocessing: Preprocessing | None = None) -> float:
        weights = import_weights(file, preprocessing=preprocessing)
        model = squeezenet_from(weights, output_layer="classes")
        pixels, wanted = zip(*photos[kind])
        best = np.argsort(-model.predict(np.stack(pixels), verbose=0), axis=1)[:, :5]
        return float(np.mean([place in row for place, row in zip(wanted, best)]))

    return share


@pytest.mark.slow
@pytest.mark.real_data
def test_photos_of_imagenets_groceries_are_recognised(top_5, photos):
    assert {name: len(listed) for name, listed in photos.items()} == {
        "iconic": 14,
        "val": 67,
    }
    # Measured: 12 of 14, and 59 of 67.
    assert top_5("iconic") >= 0.75
    assert top_5("val") >= 0.82


@pytest.mark.slow
@pytest.mark.real_data
def test_other_preprocessing_recognises_far_fewer(top_5):
    usual = usual_preprocessing("squeezenet")
    # Measured: 37 %, 57 % and 0 %.
    assert top_5("val", replace(usual, channels="RGB", mean=usual.mean[::-1])) < 0.5
    assert top_5("val", replace(usual, mean=(0.0, 0.0, 0.0))) < 0.7
    scaled = Preprocessing("RGB", IMAGENET_MEAN, IMAGENET_STD, 227, 256)
    assert top_5("val", scaled) < 0.2
