"""The Projector's files, read back by TensorBoard's own plugin."""

from __future__ import annotations

import io
import shutil
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.plugins import base_plugin
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from werkzeug import test as werkzeug_test
from werkzeug import wrappers

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.training.projector import Projector, write_projector

COLORS = [(200, 30, 30), (30, 200, 30)]


@pytest.fixture
def catalog(tmp_path):
    """Five products: red, green, none, a file that is no picture, no file."""
    images = []
    for row, color in enumerate(COLORS):
        images.append(str(tmp_path / f"{row}.png"))
        Image.new("RGB", (128, 64), color).save(images[-1])
    broken = tmp_path / "broken.jpg"
    broken.write_text("no picture")
    images += ["", str(broken), str(tmp_path / "missing.jpg")]
    return Catalog(
        text_array([f"p{row}" for row in range(5)]),
        text_array(["Mug\tblue\n350 ml", "Tasse à café", "", "d", "e"]),
        text_array(images),
        text_array(["g1", "g1", "", "g2", "g2"]),
        pa.table({"category": ["cup", "cup", None, "jug", "jug"]}),
    )


EMBEDDINGS = np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)


def read_back(folder):
    """Returns a function that asks TensorBoard's plugin on a log folder."""
    plugin = ProjectorPlugin(base_plugin.TBContext(logdir=str(folder)))
    apps = plugin.get_plugin_apps()

    def get(route, name="products"):
        client = werkzeug_test.Client(apps[route], wrappers.Response)
        answer = client.get(f"{route}?{urlencode({'run': '.', 'name': name})}")
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return answer

    return get


def test_tensorboard_reads_what_was_written_after_a_move(catalog, tmp_path):
    assert write_projector(tmp_path / "first", EMBEDDINGS, catalog) == 5
    get = read_back(shutil.move(tmp_path / "first", tmp_path / "moved"))
    info = get("/info").get_json()["embeddings"][0]
    assert info["tensorShape"] == [5, 3]
    assert info["sprite"]["singleImageDim"] == [64, 64]
    vectors = np.frombuffer(get("/tensor").get_data(), np.float32).reshape(5, 3)
    np.testing.assert_allclose(vectors, EMBEDDINGS, atol=1e-5)
    lines = get("/metadata").get_data(as_text=True).splitlines()
    assert [line.split("\t") for line in lines[:4]] == [
        ["id", "title", "group", "category"],
        ["p0", "Mug blue 350 ml", "g1", "cup"],
        ["p1", "Tasse à café", "g1", "cup"],
        ["p2", "", "", ""],
    ]
    assert len(lines) == 6


def test_pictures_stand_in_rows_and_are_blank_where_there_is_none(
    catalog, tmp_path, caplog
):
    write_projector(tmp_path / "log", EMBEDDINGS, catalog)
    data = read_back(tmp_path / "log")("/sprite_image").get_data()
    sheet = np.asarray(Image.open(io.BytesIO(data)))
    # Five pictures: three a row. Twice as wide as high: a quarter blank above, below.
    assert sheet.shape == (192, 192, 3)
    for row, color in enumerate(COLORS):
        place = sheet[:64, 64 * row : 64 * row + 64]
        assert (place[16:48] == color).all()
        assert (place[:16] == 255).all() and (place[48:] == 255).all()
    assert (sheet[:64, 128:] == 255).all() and (sheet[64:] == 255).all()
    assert "2 pictures cannot be read" in caplog.text


def test_without_sprites_none_are_written_or_named(catalog, tmp_path):
    write_projector(tmp_path, EMBEDDINGS, catalog, sprites=False)
    assert not (tmp_path / "sprite.png").exists()
    assert "sprite" not in read_back(tmp_path)("/info").get_json()["embeddings"][0]


def test_too_many_products_are_sampled_alike_in_all_files(catalog, tmp_path):
    assert write_projector(tmp_path, EMBEDDINGS, catalog, max_products=2) == 2
    lines = (tmp_path / "metadata.tsv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [int(line.split("\t")[0][1:]) for line in lines]
    assert len(set(rows)) == 2
    found = np.loadtxt(tmp_path / "vectors.tsv")
    np.testing.assert_allclose(found, EMBEDDINGS[rows], atol=1e-5)


def test_the_callback_writes_the_embeddings_of_the_trained_model(catalog, tmp_path):
    x = tf.keras.Input((3,), name="x")
    encoder = tf.keras.Model({"x": x}, tf.keras.layers.Dense(3, use_bias=False)(x))
    encoder.compile("sgd", "mse")
    arrays = {"x": EMBEDDINGS + 2}
    seen = []
    look = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: seen.append((tmp_path / "vectors.tsv").exists())
    )
    callback = Projector(tmp_path, encoder, arrays, catalog, every=2)
    encoder.fit(arrays, EMBEDDINGS, epochs=3, verbose=0, callbacks=[callback, look])
    assert seen == [False, True, True]
    expected = encoder(arrays).numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = np.loadtxt(tmp_path / "vectors.tsv")
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_does_not_fit_is_refused(catalog, tmp_path):
    with pytest.raises(ValueError, match=r"must be \[5, D\].* got shape \(4, 3\)"):
        write_projector(tmp_path, EMBEDDINGS[:4], catalog)
    with pytest.raises(ValueError, match="between 1 and 16384, got 20000"):
        write_projector(tmp_path, EMBEDDINGS, catalog, max_products=20000)
