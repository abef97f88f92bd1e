"""The user's own Keras model or SavedModel as a tower."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.errors import ModelError
from simprod_tf.model.image_tower import ImageTower, build_image_tower

SIDE = 8
PIXELS = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)


class Mine(tf.Module):
    """Mean colour times a matrix: something that is no Keras model."""

    def __init__(self, side=SIDE, dtype=tf.float32, batch=None):
        super().__init__()
        self.matrix = tf.Variable(np.arange(12, dtype=np.float32).reshape(3, 4))
        spec = tf.TensorSpec([batch, side, side, 3], dtype, "pictures")
        self.call = tf.function(self._call, input_signature=[spec])

    def _call(self, pictures):
        colours = tf.reduce_mean(tf.cast(pictures, tf.float32) / 255.0, axis=[1, 2])
        return {"features": tf.matmul(colours, self.matrix)}


class Callable(Mine):
    """The same without a signature."""

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32)])
    def __call__(self, pictures):
        return self._call(pictures)["features"]


def saved_model(folder, module=None, function=None):
    """Writes a SavedModel of `function`, a method of `module`."""
    module = module or Mine()
    tf.saved_model.save(module, str(folder), signatures=function or module.call)
    return str(folder)


def module_with(function, *specs):
    """Returns a module whose signature is `function`."""
    module = tf.Module()
    module.call = tf.function(function, input_signature=specs)
    return module


def image_spec(side=SIDE):
    return tf.TensorSpec([None, side, side, 3], tf.float32, "image")


def expected_of(pixels):
    colours = (pixels.astype(np.float64) / 255).mean(axis=(1, 2))
    return colours @ np.arange(12, dtype=np.float64).reshape(3, 4)


@pytest.fixture
def keras_file(tmp_path):
    """A small Keras model with a map as its output."""
    image = tf.keras.Input([SIDE, SIDE, 3])
    x = tf.keras.layers.Rescaling(1 / 255.0)(image)
    x = tf.keras.layers.Conv2D(5, 3, name="conv")(x)
    model = tf.keras.Model(image, x)
    path = tmp_path / "Mine 1.keras"
    model.save(path)
    return path, model


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_keras_model_with_a_map_is_averaged(keras_file, tmp_path, suffix):
    _, model = keras_file
    path = tmp_path / f"Mine 1.{suffix}"
    model.save(path)
    tower = build_image_tower(str(path))
    assert (tower.name, tower.dim) == ("mine_1", 5)
    assert (tower.image_size, tower.resize_to) == (SIDE, SIDE)
    wanted = model(PIXELS).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(tower.model(PIXELS), wanted, rtol=1e-5, atol=1e-6)
    folder = tmp_path / "tower"
    folder.mkdir()
    tower.save(folder)
    again = ImageTower.load(folder)
    assert again.fingerprint == tower.fingerprint
    np.testing.assert_array_equal(again.model(PIXELS), tower.model(PIXELS))


def test_a_layer_of_a_keras_model_may_be_chosen(tmp_path):
    image = tf.keras.Input([SIDE, SIDE, 3])
    x = tf.keras.layers.Flatten()(image)
    x = tf.keras.layers.Dense(6, name="embedding")(x)
    model = tf.keras.Model(image, tf.keras.layers.Dense(2, name="classes")(x))
    model.save(tmp_path / "a.keras")
    path = str(tmp_path / "a.keras")
    assert build_image_tower(path).dim == 2
    assert build_image_tower(path, output_layer="embedding").dim == 6
    with pytest.raises(ValueError, match="has no layer 'embeding'; close are embeddi"):
        build_image_tower(path, output_layer="embeding")


def test_a_keras_model_of_any_size_needs_one(tmp_path):
    image = tf.keras.Input([None, None, 3])
    x = tf.keras.layers.GlobalAveragePooling2D()(image)
    tf.keras.Model(image, x).save(tmp_path / "a.keras")
    with pytest.raises(ValueError, match="pictures of any size; say which by --image"):
        build_image_tower(str(tmp_path / "a.keras"))
    tower = build_image_tower(str(tmp_path / "a.keras"), image_size=SIDE)
    np.testing.assert_allclose(tower.model(PIXELS), PIXELS.mean(axis=(1, 2)), rtol=1e-5)


def test_features_of_half_precision_become_float32(tmp_path):
    image = tf.keras.Input([SIDE, SIDE, 3])
    x = tf.keras.layers.GlobalAveragePooling2D(dtype="float16")(image)
    tf.keras.Model(image, x).save(tmp_path / "a.keras")
    features = build_image_tower(str(tmp_path / "a.keras")).model(PIXELS)
    assert features.dtype == tf.float32


def test_layers_that_are_not_known_are_explained(tmp_path):
    class Unknown(tf.keras.layers.Layer):
        def call(self, x):
            return tf.reduce_mean(x, axis=[1, 2])

    image = tf.keras.Input([SIDE, SIDE, 3])
    tf.keras.Model(image, Unknown()(image)).save(tmp_path / "a.keras")
    with pytest.raises(ModelError, match="register them .*or export it as a SavedMod"):
        build_image_tower(str(tmp_path / "a.keras"))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((SIDE, SIDE, 1), r"takes \(None, 8, 8, 1\); an image tower takes one input"),
        ((SIDE, 4, 3), "takes 8 x 4 pixels; expected a square"),
        ((SIDE, SIDE), "an image tower takes one input"),
    ],
)
def test_a_keras_model_of_something_else_is_refused(tmp_path, shape, message):
    image = tf.keras.Input(shape)
    tf.keras.Model(image, tf.keras.layers.Flatten()(image)).save(tmp_path / "a.keras")
    with pytest.raises(ModelError, match=message):
        build_image_tower(str(tmp_path / "a.keras"))


def test_a_keras_model_of_two_inputs_is_refused(tmp_path):
    images = [tf.keras.Input([SIDE, SIDE, 3]) for _ in range(2)]
    x = tf.keras.layers.Flatten()(tf.keras.layers.Add()(images))
    tf.keras.Model(images, x).save(tmp_path / "a.keras")
    with pytest.raises(ModelError, match="has 2 inputs and 1 outputs"):
        build_image_tower(str(tmp_path / "a.keras"))


def test_an_image_size_that_is_not_the_models_is_refused(keras_file):
    with pytest.raises(ValueError, match="of 8 pixels, so image_size cannot be 9"):
        build_image_tower(str(keras_file[0]), image_size=9)


@pytest.mark.parametrize("dtype", [tf.float32, tf.uint8])
def test_a_saved_model_of_anything_is_a_tower(tmp_path, dtype):
    folder = saved_model(tmp_path / "My model", Mine(dtype=dtype))
    tower = build_image_tower(folder)
    assert (tower.name, tower.dim, tower.image_size) == ("my_model", 4, SIDE)
    np.testing.assert_allclose(tower.model(PIXELS), expected_of(PIXELS), rtol=1e-4)
    graph = tf.function(tower.model)
    np.testing.assert_allclose(graph(PIXELS), expected_of(PIXELS), rtol=1e-4)
    np.testing.assert_allclose(
        tower.model(PIXELS[:1]), expected_of(PIXELS[:1]), rtol=1e-4
    )


def test_a_saved_model_is_frozen_and_its_variables_are_seen(tmp_path):
    tower = build_image_tower(saved_model(tmp_path / "mine"))
    assert [tuple(one.shape) for one in tower.model.weights] == [(3, 4)]
    assert tower.model.trainable_weights == []
    tower.model.trainable = True
    assert tower.model.trainable_weights == []


def test_a_saved_model_is_copied_with_the_tower(tmp_path):
    tower = build_image_tower(saved_model(tmp_path / "mine"))
    folder = tmp_path / "tower"
    folder.mkdir()
    tower.save(folder)
    shutil.rmtree(tmp_path / "mine")
    again = ImageTower.load(folder)
    with pytest.raises(FileNotFoundError):
        assert tower.fingerprint
    np.testing.assert_allclose(again.model(PIXELS), expected_of(PIXELS), rtol=1e-4)
    other = tmp_path / "other"
    other.mkdir()
    again.save(other)
    assert ImageTower.load(other).fingerprint == again.fingerprint


def test_a_saved_models_fingerprint_changes_with_a_weight(tmp_path):
    module = Mine()
    first = build_image_tower(saved_model(tmp_path / "a", module))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    same = build_image_tower(str(tmp_path / "b"))
    assert same.fingerprint == first.fingerprint
    module.matrix[0, 0].assign(0.5)
    changed = build_image_tower(saved_model(tmp_path / "c", module))
    assert changed.fingerprint != first.fingerprint


@pytest.mark.slow
def test_a_saved_model_inside_a_module_is_exported_and_runs_elsewhere(tmp_path):
    tower = build_image_tower(saved_model(tmp_path / "mine"))
    image = tf.keras.Input([SIDE, SIDE, 3])
    doubled = tf.keras.Model(image, tf.keras.layers.Rescaling(2.0)(tower.model(image)))
    outer = tf.Module()
    outer.model = doubled
    outer.embed = tf.function(
        lambda image: {"embedding": doubled(image, training=False)},
        input_signature=[tf.TensorSpec([None, SIDE, SIDE, 3], tf.float32, "image")],
    )
    tf.saved_model.save(outer, str(tmp_path / "outer"), signatures=outer.embed)
    shutil.rmtree(tmp_path / "mine")
    np.save(tmp_path / "pixels.npy", PIXELS)
    code = (
        "import sys, numpy as np, tensorflow as tf\n"
        "module = tf.saved_model.load(sys.argv[1] + '/outer')\n"
        "embed = module.signatures['serving_default']\n"
        "pixels = np.load(sys.argv[1] + '/pixels.npy').astype('float32')\n"
        "out = embed(image=tf.constant(pixels))['embedding']\n"
        "np.save(sys.argv[1] + '/out.npy', out)\n"
        "assert 'simprod_tf' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    np.testing.assert_allclose(
        np.load(tmp_path / "out.npy"), 2 * expected_of(PIXELS), rtol=1e-4
    )


def test_a_saved_model_without_a_signature_is_called(tmp_path):
    module = Callable()
    tf.saved_model.save(module, str(tmp_path / "a"), signatures={})
    tower = build_image_tower(str(tmp_path / "a"))
    np.testing.assert_allclose(tower.model(PIXELS), expected_of(PIXELS), rtol=1e-4)


def test_one_of_several_outputs_is_chosen(tmp_path):
    module = module_with(
        lambda image: {
            "colour": tf.reduce_mean(image, axis=[1, 2]),
            "map": image[:, ::2, ::2] * 2.0,
        },
        image_spec(None),
    )
    folder = saved_model(tmp_path / "a", module)
    with pytest.raises(ModelError, match="outputs colour, map; choose one by --output"):
        build_image_tower(folder, image_size=SIDE)
    with pytest.raises(ValueError, match="has no output 'x'; it has colour, map"):
        build_image_tower(folder, image_size=SIDE, output_layer="x")
    with pytest.raises(ValueError, match="of any size; say which by --image-size"):
        build_image_tower(folder, output_layer="map")
    tower = build_image_tower(folder, image_size=SIDE, output_layer="map")
    wanted = 2.0 * PIXELS[:, ::2, ::2].mean(axis=(1, 2))
    np.testing.assert_allclose(tower.model(PIXELS), wanted, rtol=1e-4)
    place = tmp_path / "tower"
    place.mkdir()
    tower.save(place)
    again = ImageTower.load(place)
    np.testing.assert_array_equal(again.model(PIXELS), tower.model(PIXELS))


@pytest.mark.parametrize(
    ("function", "specs", "message"),
    [
        (lambda a, b: a + b, [image_spec(), image_spec()], "takes float32.*, float32"),
        (
            lambda text: tf.strings.length(text),
            [tf.TensorSpec([None], tf.string)],
            "takes string",
        ),
        (lambda image: tf.reduce_mean(image), [image_spec()], r"gives \(\) for \[2, 8"),
        (
            lambda image: 0.0 / tf.reduce_mean(image, axis=[1, 2]),
            [image_spec()],
            "not finite for a black picture",
        ),
        (
            lambda image: image[:, :, :, 0],
            [tf.TensorSpec([1, SIDE, SIDE, 3])],
            "an image tower takes one input",
        ),
        (
            lambda image: tf.reshape(image, [1, -1]),
            [image_spec()],
            r"gives \(1, 384\) for",
        ),
    ],
)
def test_a_saved_model_of_something_else_is_refused(tmp_path, function, specs, message):
    folder = saved_model(tmp_path / "a", module_with(function, *specs))
    with pytest.raises(ModelError, match=message):
        build_image_tower(folder)


def test_a_saved_model_that_cannot_be_called_is_refused(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "a"))
    with pytest.raises(ModelError, match="no signature serving_default and cannot be"):
        build_image_tower(str(tmp_path / "a"))


def test_a_damaged_saved_model_is_refused(tmp_path):
    folder = saved_model(tmp_path / "a")
    (tmp_path / "a" / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(ModelError, match="a cannot be loaded"):
        build_image_tower(folder)
