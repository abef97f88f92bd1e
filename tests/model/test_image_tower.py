"""Image towers by name: the same features and fingerprint after save and load."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.errors import ModelError
from simprod_tf.model.alexnet import build_alexnet
from simprod_tf.model.image_tower import ImageTower, build_image_tower
from simprod_tf.model.preprocessing import Preprocessing
from simprod_tf.model.weights import Weights, write_weights


def pixels_of(tower, seed=0, count=3):
    rng = np.random.default_rng(seed)
    shape = (count, tower.image_size, tower.image_size, 3)
    return rng.integers(0, 256, shape).astype(np.uint8)


def saved(tower, folder):
    folder.mkdir()
    tower.save(folder)
    return ImageTower.load(folder)


@pytest.fixture(scope="module")
def small():
    tf.keras.utils.set_random_seed(0)
    return build_image_tower("small")


@pytest.fixture(scope="module")
def small_weights():
    """Weights of `small` with a preprocessing of their own."""
    tf.keras.utils.set_random_seed(1)
    model = build_alexnet("small", output_layer="fc7")
    arrays = {
        f"{layer.name}/{kind}": array
        for layer in model.layers
        for kind, array in zip(("kernel", "bias"), layer.get_weights())
    }
    expects = Preprocessing("BGR", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), 64, 80)
    return Weights("small", expects, arrays, {"file": "mine.npz"})


def test_a_preset_is_a_tower_of_its_own_sizes(small):
    assert (small.name, small.image_size, small.resize_to) == ("small", 64, 64)
    # 64 pixels leave 1 + (64 + 2 * 2 - 5) // 2 = 32, 15, 7 and 3 after the pools.
    assert small.dim == 3 * 3 * 64
    assert small.details["weights"] == "random"


def test_whole_numbers_and_floats_give_the_same(small):
    pixels = pixels_of(small)
    floats = small.model(tf.cast(pixels, tf.float32))
    np.testing.assert_array_equal(small.model(pixels), floats)
    one = small.model(pixels[:1])
    np.testing.assert_allclose(one, floats[:1], rtol=1e-4, atol=1e-5)


def test_saved_and_loaded_it_is_the_same(small, tmp_path):
    again = saved(small, tmp_path / "tower")
    pixels = pixels_of(small)
    np.testing.assert_array_equal(again.model(pixels), small.model(pixels))
    assert again.fingerprint == small.fingerprint
    assert (again.name, again.resize_to) == (small.name, small.resize_to)
    assert again.details == small.details


@pytest.mark.slow
def test_the_fingerprint_is_the_same_in_another_process(small, tmp_path):
    folder = tmp_path / "tower"
    saved(small, folder)
    code = (
        "import sys, tensorflow as tf; tf.keras.layers.Dense(1);"
        "from simprod_tf.model.image_tower import ImageTower;"
        "print(ImageTower.load(sys.argv[1]).fingerprint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == small.fingerprint


def test_the_fingerprint_changes_with_a_weight_and_a_size_alone(small):
    def like(**changes):
        fields = {
            "name": "other",
            "model": small.model,
            "image_size": 64,
            "resize_to": 64,
        }
        return ImageTower(**{**fields, **changes})

    assert like(details={"spec": "else"}).fingerprint == small.fingerprint
    assert like(resize_to=80).fingerprint != small.fingerprint
    changed = tf.keras.models.clone_model(small.model)
    changed.set_weights(small.model.get_weights())
    assert like(model=changed).fingerprint == small.fingerprint
    changed.trainable = False
    assert like(model=changed).fingerprint == small.fingerprint
    kernel = changed.get_layer("conv3").kernel
    kernel[0, 0, 0, 0].assign(kernel[0, 0, 0, 0] + 1e-6)
    assert like(model=changed).fingerprint != small.fingerprint


@pytest.mark.parametrize("as_spec", [True, False])
def test_weights_bring_their_own_preprocessing(small_weights, tmp_path, as_spec):
    path = tmp_path / "My weights-2.npz"
    write_weights(small_weights, path)
    if as_spec:
        tower = build_image_tower(str(path))
        assert tower.name == "my_weights_2"
    else:
        tower = build_image_tower("small", weights=str(path))
        assert tower.name == "small"
    assert (tower.image_size, tower.resize_to) == (64, 80)
    assert tower.model.get_layer("standardize").get_config()["channels"] == "BGR"
    assert tower.details["output_layer"] == "fc7"
    assert len(tower.details["sha256"]) == 64
    assert tower.dim == 256
    shorter = build_image_tower(str(path), output_layer="fc6", name="mine")
    assert shorter.name == "mine"
    assert shorter.fingerprint != tower.fingerprint


def test_squeezenet_is_a_tower(tmp_path, caplog):
    tower = build_image_tower("squeezenet")
    assert "squeezenet has random weights" in caplog.text
    assert (tower.image_size, tower.resize_to, tower.dim) == (227, 256, 512)
    assert tower.details["output_layer"] == "fire9"
    again = saved(tower, tmp_path / "tower")
    assert again.fingerprint == tower.fingerprint


@pytest.mark.real_data
def test_real_weights_of_squeezenet_and_alexnet(real_data, tmp_path):
    folder = real_data / "weights"
    tower = build_image_tower(str(folder / "squeezenet_v1.0_caffe_oihw.npz"))
    assert (tower.dim, tower.details["output_layer"]) == (512, "fire9")
    path = folder / "alexnet_conv_torchvision.npz"
    tower = build_image_tower("torchvision", weights=str(path))
    assert (tower.dim, tower.details["output_layer"]) == (9216, "pool5")
    features = tower.model(pixels_of(tower, count=1)).numpy()
    assert np.isfinite(features).all()
    assert features.max() > 0
    with pytest.raises(ModelError, match="torchvision, expected krizhevsky2012"):
        build_image_tower("krizhevsky2012", weights=str(path))


def test_towers_compose_and_export_together(small, tmp_path):
    image = tf.keras.Input([64, 64, 3])
    half = tf.keras.layers.Rescaling(0.5)(small.model(image))
    both = tf.keras.Model(image, half)
    both.save(tmp_path / "both.keras")
    again = tf.keras.models.load_model(tmp_path / "both.keras")
    pixels = tf.cast(pixels_of(small), tf.float32)
    np.testing.assert_allclose(again(pixels), 0.5 * small.model(pixels).numpy())


@pytest.mark.parametrize(
    ("spec", "options", "error", "message"),
    [
        ("smal", {}, ValueError, "got 'smal'. Did you mean small"),
        ("resnet50", {}, ValueError, "image tower must be one of krizhevsky2012"),
        ("none.npz", {}, ModelError, "no image tower none.npz: no such file"),
        ("a/folder", {}, ModelError, "no image tower a/folder: no such file"),
        ("keras:EfficientNetV3", {}, ValueError, "close are: EfficientNetV2B3, Eff"),
        ("small", {"image_size": 80}, ValueError, "takes pictures of 64 pixels"),
        ("small", {"output_layer": "conv9"}, ValueError, "output_layer must be one"),
        ("small", {"weights": "none.npz"}, ModelError, "none.npz cannot be read"),
        ("small", {"name": "Mine!"}, ValueError, "a-z, 0-9 and _, got 'Mine!'"),
    ],
)
def test_what_cannot_be_built_is_said(spec, options, error, message):
    with pytest.raises(error, match=message):
        build_image_tower(spec, **options)


def test_a_folder_without_a_saved_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="holds no saved_model.pb"):
        build_image_tower(str(tmp_path))


def test_a_file_with_weights_takes_no_others(small_weights, tmp_path):
    path = tmp_path / "a.npz"
    write_weights(small_weights, path)
    with pytest.raises(ValueError, match="holds its own weights; leave out b.npz"):
        build_image_tower(str(path), weights="b.npz")


def test_sizes_that_do_not_fit_are_refused(small):
    with pytest.raises(ValueError, match="must take .*32, 32, 3.*, got"):
        ImageTower("a", small.model, 32, 32)
    with pytest.raises(ValueError, match=r"between 1 and resize_to \(32\), got 64"):
        ImageTower("a", small.model, 64, 32)


def test_a_folder_that_is_no_tower_is_refused(small, tmp_path):
    with pytest.raises(ModelError, match="holds no image tower: tower.json is missing"):
        ImageTower.load(tmp_path)
    folder = tmp_path / "tower"
    saved(small, folder)
    content = json.loads((folder / "tower.json").read_text())
    (folder / "tower.json").write_text(json.dumps({**content, "resize_to": 65}))
    with pytest.raises(ModelError, match="is damaged: its tower.json says fingerprint"):
        ImageTower.load(folder)
    (folder / "tower.json").write_text(json.dumps({**content, "image_size": 63}))
    with pytest.raises(ModelError, match="tower is damaged: the model must take"):
        ImageTower.load(folder)
    (folder / "tower.json").write_text("{}")
    with pytest.raises(ModelError, match="it has no details, fingerprint, image_size"):
        ImageTower.load(folder)
    (folder / "tower.json").write_text("{")
    with pytest.raises(ModelError, match="tower.json cannot be read"):
        ImageTower.load(folder)
    (folder / "tower.json").write_text(json.dumps(content))
    (folder / "tower.keras").write_bytes(b"PK")
    with pytest.raises(ModelError, match="tower.keras cannot be loaded"):
        ImageTower.load(folder)
