"""A catalogue as arrays."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.errors import InputError
from simprod_tf.features.image import PictureSettings, decode_picture
from simprod_tf.features.inputs import decode_catalog, extract_features, word_ids
from simprod_tf.features.text import WordIds

SETTINGS = PictureSettings(16, 16)


@pytest.fixture
def paths(tmp_path, make_picture):
    found = []
    for seed in range(70):
        path = tmp_path / f"{seed}.png"
        make_picture(seed, (20, 20)).save(path)
        found.append(str(path))
    found[3] = ""
    return found


def test_pixels_stand_in_the_order_of_the_paths(paths):
    told = []
    pixels = decode_catalog(
        paths, SETTINGS, progress=lambda done, total: told.append((done, total))
    )
    assert pixels.shape == (70, 16, 16, 3)
    assert (pixels[3] == 0).all()
    for row in (0, 69):
        alone = decode_picture(tf.io.read_file(paths[row]), SETTINGS).numpy()
        assert (pixels[row] == alone).all()
    assert told[-1] == (70, 70)


def test_features_are_the_towers_and_zero_without_a_picture(paths):
    image = tf.keras.Input([16, 16, 3])
    mean = tf.keras.layers.GlobalAveragePooling2D()(image)
    tower = tf.keras.Model(image, mean + 1.0)
    features = extract_features(paths, tower, SETTINGS)
    pixels = decode_catalog(paths, SETTINGS).astype(np.float64)
    assert (features[3] == 0).all()
    assert np.allclose(features[4:], pixels[4:].mean((1, 2)) + 1, atol=1e-3)


def test_the_picture_that_cannot_be_decoded_is_named(paths, tmp_path):
    (tmp_path / "66.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="66.png: the picture cannot be decoded"):
        decode_catalog(paths, SETTINGS)


def test_word_ids_of_many_titles():
    titles = ["mug"] * 4096 + ["red mug"]
    ids = word_ids(titles, WordIds(["mug", "red"]))
    assert ids.dtype == np.int32
    assert ids[0, :2].tolist() == [1, 0]
    assert ids[4096, :3].tolist() == [2, 1, 0]
