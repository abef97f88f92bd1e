"""A real encoder behind the real server answers through the client as at home."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.data.catalog import Product
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import InputError
from simprod_tf.export import SavedEncoder, export_encoder
from simprod_tf.features.product_inputs import (
    CategoryInput,
    NumberInput,
    ProductInputs,
    TextInput,
    VectorInput,
)
from simprod_tf.model.encoder import EncoderSettings, build_head
from simprod_tf.model.image_tower import ImageTower
from simprod_tf.model.source import (
    CategorySource,
    NumberSource,
    TextSource,
    VectorSource,
)
from simprod_tf.serving import AsyncClient, Client
from simprod_tf.serving.client.error import NotFoundError
from simprod_tf.serving.models.config import models_of
from simprod_tf.serving.server.server import ServeOptions, Server
from simprod_tf.trained import TrainedEncoder

INPUTS = ProductInputs(
    TextInput(("red", "mug"), "ngrams", 7),
    (CategoryInput("Brand name", ("acme", "bolt")),),
    (NumberInput("price"),),
    (VectorInput("clip", 2),),
)
CLIP = VectorTable("clip", ["1", "4"], np.array([[3, 4], [1, 2]], np.float32))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An exported encoder of everything: picture, title, category, number, vectors."""
    tf.keras.utils.set_random_seed(3)
    image = tf.keras.Input([30, 30, 3])
    mean = tf.keras.layers.GlobalAveragePooling2D()(image)
    tower = ImageTower("mean", tf.keras.Model(image, mean), 30, 40)
    words = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
    sources = [
        VectorSource("mean", tower.dim, "image"),
        TextSource(words, buckets=7),
        CategorySource("brand_name", 2),
        NumberSource("price", (1.0, 5.0, 20.0)),
        VectorSource("clip", 2, "clip"),
    ]
    head = build_head(sources, EncoderSettings(12))
    for weight in head.trainable_weights:
        weight.assign_add(tf.random.normal(weight.shape, stddev=0.05, seed=2))
    path = tmp_path_factory.mktemp("models") / "shop"
    export_encoder(TrainedEncoder(head, (tower,), INPUTS), path)
    return path


@pytest.fixture(scope="module")
def saved(folder):
    return SavedEncoder(folder)


@pytest.fixture(scope="module")
def address(folder):
    models = models_of({"shop": folder})
    with Server(ServeOptions(models, port=0, rest_port=None)) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture
def products(tmp_path, make_picture):
    picture = make_picture(5)
    for name in ("a.jpg", "a.png", "a.gif", "a.bmp", "a.webp"):
        picture.save(tmp_path / name)
    images = [str(path) for path in sorted(tmp_path.iterdir())]
    attributes = [{"Brand name": "Bolt", "price": "4"}, {"Brand name": "acme"}, {}]
    attributes += [{"price": "7"}, {"Brand name": "unheard of", "price": ""}]
    return [
        Product(str(row), title, image, attributes=attributes[row % 5])
        for row, (image, title) in enumerate(
            zip(
                [*images, "", "", ""],
                ["red mug", "", "mugs", "Tässe", "x", "red", "", ""],
            )
        )
    ]


def test_embeddings_are_those_of_the_saved_encoder(saved, address, products):
    expected = saved.encode(products, tables={"clip": CLIP})
    # Nothing is known of the last; the others differ.
    assert np.linalg.norm(expected, axis=1) == pytest.approx([1] * 7 + [0], abs=1e-5)
    assert len(np.unique(expected.round(3), axis=0)) == 8
    with Client(address, model="shop", chunk=3) as client:
        found = client.encode(products, tables={"clip": CLIP})
        assert client.dim == 12
    assert np.abs(found - expected).max() < 1e-6

    async def encoded():
        async with AsyncClient(address, model="shop", chunk=3) as client:
            return await client.encode(products, tables={"clip": CLIP})

    assert np.abs(asyncio.run(encoded()) - expected).max() < 1e-6


def test_a_bad_picture_is_refused_in_the_same_words(saved, address, tmp_path):
    path = tmp_path / "cut.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0cut")
    told = []
    with Client(address, model="shop") as client:
        for encoder in (saved, client):
            with pytest.raises(InputError, match="cut.jpg: .* cannot be decoded") as e:
                encoder.encode([Product("good", "red"), Product("bad", "", str(path))])
            told.append(str(e.value))
    assert told[0] == told[1]


def test_the_server_tells_states_and_signatures(address):
    with Client(address, model="shop") as client:
        client.wait_until_ready(5)
        (state,) = client.status()
        assert (state.version, state.state, state.error) == (1, "AVAILABLE", "")
        metadata = client.metadata()
    assert metadata.version == 1
    assert {"serving_default", "embed", "distance"} <= set(metadata.signatures)


def test_unknown_models_and_versions_are_not_found(address):
    for options in ({"model": "mugs"}, {"model": "shop", "version": 9}):
        with Client(address, **options) as client:
            with pytest.raises(NotFoundError, match="does not serve what was asked"):
                client.encode([Product("a", "red")])
