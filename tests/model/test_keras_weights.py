"""Keras' HDF5 weights, in both forms, of each network of ours."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.errors import ModelError
from simprod_tf.model.alexnet import alexnet_from, build_alexnet
from simprod_tf.model.squeezenet import build_squeezenet, squeezenet_from
from simprod_tf.model.weights import import_weights


@pytest.mark.parametrize("file", ["w.weights.h5", "w.h5"])
@pytest.mark.parametrize(
    "model",
    [
        lambda: build_alexnet("small", output_layer="fc7"),
        lambda: build_alexnet("krizhevsky2012"),
        lambda: build_alexnet("torchvision"),
        lambda: build_squeezenet(output_layer="classes"),
    ],
    ids=["small", "krizhevsky2012", "torchvision", "squeezenet"],
)
def test_a_models_weights_come_back(tmp_path, file, model):
    # Layers made before do not shift the counts in the file.
    tf.keras.layers.Conv2D(1, 1)
    before = model()
    before.save_weights(tmp_path / file)
    weights = import_weights(tmp_path / file)
    assert weights.source["format"] == "keras h5"
    if weights.architecture == "squeezenet":
        after = squeezenet_from(weights, output_layer="classes")
    else:
        after = alexnet_from(weights)
    assert after.name == before.name
    for first, second in zip(before.get_weights(), after.get_weights()):
        assert np.array_equal(first, second)
    # The model's own preprocessing and constants, not Caffe's.
    config = before.get_layer("standardize").get_config()
    assert after.get_layer("standardize").get_config() == config
    if weights.architecture == "krizhevsky2012":
        assert after.get_layer("norm1").alpha == 1e-4


def test_a_file_cut_short_is_named(tmp_path):
    path = tmp_path / "w.weights.h5"
    build_alexnet("small").save_weights(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ModelError, match="w.weights.h5 is damaged or cut short"):
        import_weights(path)


def test_a_file_without_weights_is_refused(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["titles"] = np.zeros(3)
    with pytest.raises(ModelError, match="w.h5 holds no weights of a Keras model"):
        import_weights(tmp_path / "w.h5")


def test_another_models_weights_are_refused(tmp_path):
    layers = [tf.keras.layers.Dense(3) for _ in range(3)]
    tf.keras.Sequential([tf.keras.Input([4]), *layers]).save_weights(
        tmp_path / "w.weights.h5"
    )
    with pytest.raises(ModelError, match="layer 3 of class dense is none of ours"):
        import_weights(tmp_path / "w.weights.h5")
