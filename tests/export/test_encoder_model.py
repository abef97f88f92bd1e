"""Each function of an exported encoder answers as training's encoder does."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simprod_tf.data.catalog import Product
from simprod_tf.export.encoder_model import ExportedEncoder
from simprod_tf.features.inputs import picture_batches
from simprod_tf.features.product_inputs import ProductInputs, TextInput
from simprod_tf.matching.calibration import Calibration
from simprod_tf.model.encoder import EncoderSettings, build_head
from simprod_tf.model.image_tower import ImageTower
from simprod_tf.model.source import TextSource, VectorSource
from simprod_tf.trained import TrainedEncoder, pictures_of

CURVE = Calibration(-3.0, 2.0)


@pytest.fixture(scope="module", autouse=True)
def _not_optimised():
    """Each function runs once or twice: to optimise it first would take longest."""
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    off = before.get("disable_meta_optimizer", False)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": off})


@pytest.fixture(scope="module")
def functions(trained):
    module = ExportedEncoder(trained, CURVE)
    # The functions read variables that live as long as the module.
    yield module.functions
    del module


@pytest.fixture
def pictures(make_picture, tmp_path):
    """Three files of one size, without loss."""
    paths = []
    for seed in range(3):
        paths.append(str(tmp_path / f"{seed}.png"))
        make_picture(seed).save(paths[-1])
    return paths


def read(path):
    with open(path, "rb") as file:
        return file.read()


def asked(function, **inputs):
    found = function(**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in found.items()}


def test_a_bad_picture_gives_its_row_alone_zeros_and_a_fault(
    trained, functions, pictures
):
    good = read(pictures[0])
    webp = io.BytesIO()
    Image.open(pictures[1]).save(webp, "WEBP")
    contents = [good, good[:200], b"", webp.getvalue(), b"", good]
    titles = ["", "red mug", "red mug", "red mug", "", "mug"]
    found = asked(functions["embed"], image_bytes=contents, title=titles)
    assert found["valid"].tolist() == [True, False, True, False, True, True]
    assert found["fault"].tolist() == [
        *(b"", b"the PNG is damaged or cut", b""),
        b"WebP is not read here: send JPEG, PNG, GIF or BMP",
        *(b"", b""),
    ]
    assert not found["embedding"][[1, 3, 4]].any()
    products = [
        Product("a", "", pictures[0]), Product("b", "red mug"),
        Product("c", "mug", pictures[0]),
    ]  # fmt: skip
    expected = trained.encode(products)
    assert np.abs(found["embedding"][[0, 2, 5]] - expected).max() < 1e-5


def test_stored_features_give_the_embedding_of_their_pictures(
    trained, functions, pictures
):
    tower = trained.towers[0]
    (pixels,) = picture_batches(pictures, pictures_of(tower), batch_size=8)
    features = np.zeros((4, tower.dim), np.float32)
    features[:3] = tower.model(tf.cast(pixels, tf.float32))
    titles = ["red", "", "mug", "mug"]
    found = asked(functions["embed_features"], small_features=features, title=titles)
    # The fourth has no picture.
    images = [*pictures, ""]
    products = [Product(str(i), *one) for i, one in enumerate(zip(titles, images))]
    assert np.abs(found["embedding"] - trained.encode(products)).max() < 1e-5


def test_decoded_pixels_give_the_embedding_of_their_pictures(
    trained, functions, pictures
):
    pixels = np.stack([np.asarray(Image.open(path)) for path in pictures])
    found = asked(functions["embed_image_tensor"], image=pixels, title=["mug", "", "?"])
    titles = ["mug", "", ""]
    products = [Product(str(i), *one) for i, one in enumerate(zip(titles, pictures))]
    assert np.abs(found["embedding"] - trained.encode(products)).max() < 1e-5
    huge = np.zeros((1, 1, 64_000_001, 3), np.uint8)
    with pytest.raises(tf.errors.InvalidArgumentError, match="the limit is 64,000,000"):
        asked(functions["embed_image_tensor"], image=huge, title=[""])


def test_distances_and_probabilities_are_those_of_the_embeddings(
    trained, functions, pictures
):
    left = [Product("a", "red mug", pictures[0]), Product("b", "", pictures[1])]
    right = [Product("c", "350 ml", pictures[2]), Product("d", "", pictures[1])]
    found = asked(
        functions["distance"],
        a_title=[one.title for one in left],
        a_image_bytes=[read(one.image) for one in left],
        b_title=[one.title for one in right],
        b_image_bytes=[read(one.image) for one in right],
    )
    expected = np.linalg.norm(trained.encode(left) - trained.encode(right), axis=1)
    assert 0.01 < expected[0] < 2
    np.testing.assert_allclose(found["distance"], expected, atol=1e-5)
    assert found["distance"][1] == 0
    likely = CURVE.probability(found["distance"])
    np.testing.assert_allclose(found["probability"], likely, rtol=1e-6)
    assert found["valid"].all()


def test_what_is_not_known_is_infinitely_far(functions, pictures):
    good = read(pictures[0])
    found = asked(
        functions["distance"],
        a_title=["red", "", "red", "red"],
        a_image_bytes=[b"", b"", good[:99], b""],
        b_title=["red", "red", "red", "red"],
        b_image_bytes=[b"", b"", b"", b"no"],
    )
    assert found["distance"].tolist() == [0, np.inf, np.inf, np.inf]
    assert found["valid"].tolist() == [True, True, False, False]
    assert [bool(one) for one in found["a_fault"]] == [False, False, True, False]
    assert [bool(one) for one in found["b_fault"]] == [False, False, False, True]
    assert found["probability"][1:].tolist() == [0, 0, 0]


def test_two_sides_of_different_length_are_refused(functions):
    with pytest.raises(tf.errors.InvalidArgumentError, match="differ in length"):
        asked(
            functions["distance"], a_title=["a"], a_image_bytes=[b""],
            b_title=["a", "b"], b_image_bytes=[b"", b""],
        )  # fmt: skip


def test_an_empty_batch_has_an_empty_answer(functions):
    for name, function in functions.items():
        specs = function.structured_input_signature[1]
        inputs = {
            key: tf.zeros([0, *(size or 5 for size in spec.shape[1:])], spec.dtype)
            for key, spec in specs.items()
        }
        found = function(**inputs)
        for key, value in found.items():
            expected = [0, 16] if key == "embedding" else [0]
            assert value.shape == expected, (name, key)


def test_without_a_calibration_there_is_no_probability_and_without_towers_no_image():
    vectors = np.eye(2, 4, dtype=np.float32)
    head = build_head([TextSource(vectors)], EncoderSettings(4))
    inputs = ProductInputs(TextInput(("red", "mug")))
    module = ExportedEncoder(TrainedEncoder(head, (), inputs))
    assert set(module.functions) == {"embed", "embed_features", "distance"}
    sides = asked(
        module.functions["distance"], a_title=["red"], a_image_bytes=[b"not looked at"],
        b_title=["red"], b_image_bytes=[b""],
    )  # fmt: skip
    assert set(sides) == {"distance", "valid", "a_fault", "b_fault"}
    assert sides["valid"].tolist() == [True]


def test_losses_on_weights_are_kept():
    image = tf.keras.Input([4, 4, 3])
    mean = tf.keras.layers.GlobalAveragePooling2D()(image)
    dense = tf.keras.layers.Dense(2, kernel_regularizer="l2")
    tower = ImageTower("own", tf.keras.Model(image, dense(mean)), 4, 4)
    head = build_head([VectorSource("own", 2, "image")], EncoderSettings(4))
    module = ExportedEncoder(TrainedEncoder(head, (tower,), ProductInputs()))
    (loss,) = module.regularization_losses
    # Keras's "l2" is 0.01 times the sum of squares.
    assert np.isclose(loss(), 0.01 * np.sum(dense.kernel.numpy() ** 2))
