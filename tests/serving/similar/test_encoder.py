"""Raw products -> embeddings by a SavedModel with the signature of an exported one."""

from __future__ import annotations

import gc
import importlib.util
import weakref
from pathlib import Path

import grpc
import numpy as np
import pytest

from simprod_tf.errors import FingerprintError, ModelError
from simprod_tf.serving.protos import similar_products_pb2 as pb
from simprod_tf.serving.similar.encoder import open_encoder
from simprod_tf.serving.status import ServingError

_spec = importlib.util.spec_from_file_location(
    "similar_process", Path(__file__).with_name("similar_process.py")
)
shop = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(shop)
save_encoder = shop.save_encoder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_encoder(folder / "1", "f1")
    save_encoder(folder / "2", "f2")
    return folder


@pytest.fixture(scope="module")
def encoder(model):
    return open_encoder(model, "f1")


def product(image=b"", title="", vector=None, **attributes):
    one = pb.Product(image_bytes=image, title=title)
    one.attributes.update(attributes)
    if vector is not None:
        one.vectors["clip"].values.extend(vector)
    return one


def encoded(encoder, *products):
    """Returns embeddings whose first number that is there counts as 1."""
    found = encoder.encode(products)
    assert set(found.faults) == {""}
    return found.embeddings


def test_every_part_of_a_product_reaches_its_input(encoder):
    found = encoded(
        encoder,
        product(image=b"123\0"),
        product(title="mug"),
        product(Brand="acme"),
        product(price=2),
        product(vector=[1, 1]),
        product(title="mug", Brand="acme", price="4", image=b"1", vector=[1, 0]),
    )
    np.testing.assert_allclose(found[:5], np.eye(5), atol=1e-6)
    wanted = np.array([1, 3, 4, 4, 1]) / np.sqrt(43)
    np.testing.assert_allclose(found[5], wanted, atol=1e-6)


def test_a_number_given_for_a_category_is_its_text(encoder):
    found = encoded(encoder, product(title="x", Brand=12.0))
    np.testing.assert_allclose(
        found[0], np.array([0, 1, 2, 0, 0]) / np.sqrt(5), atol=1e-6
    )


def test_more_products_than_a_batch_come_in_order(encoder):
    found = encoded(
        encoder, *(product(title="x", price=float(row)) for row in range(70))
    )
    np.testing.assert_allclose(found[:, 3] / found[:, 1], np.arange(70), rtol=1e-5)


def test_no_products_have_no_embeddings(encoder):
    found = encoder.encode([])
    assert (found.embeddings.shape, found.faults) == ((0, 5), ())


def test_the_faults_are_each_products_own(encoder):
    found = encoder.encode(
        [
            product(title="mug"),
            product(title="mug", image=b"bad"),
            product(),
            product(title="mug", price="cheap"),
            product(title="mug", vector=[1, 2, 3]),
            product(title="mug", vector=[1, float("nan")]),
            product(title="cup"),
        ]
    )
    texts = [
        "",
        "the picture cannot be used: of an unknown format",
        "the encoder knows nothing of it: no picture, and no word of its title",
        "price must be a number, got 'cheap'",
        "the encoder takes vectors 'clip' of 2 finite numbers, got 3",
        "the encoder takes vectors 'clip' of 2 finite numbers, got 2",
        "",
    ]
    for fault, text in zip(found.faults, texts):
        assert text in fault
        assert bool(fault) == bool(text)
    np.testing.assert_allclose(found.embeddings[[0, 6], 1], 1)


def test_a_deadline_that_has_passed_is_told(encoder):
    with pytest.raises(ServingError, match="The encoder failed: .*deadline") as caught:
        encoder.encode([product(title="mug")], timeout=0)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_the_version_with_the_fingerprint_is_opened(model):
    found = open_encoder(model, "f1")
    assert (found.version, found.fingerprint, found.dim) == (1, "f1", 5)
    assert found.columns == {"Brand", "price"}
    assert open_encoder(model / "2", "f2").version == 2


def test_a_fingerprint_of_no_version_is_refused(model):
    with pytest.raises(FingerprintError, match="encoder f9, but .* holds 2: f2, 1: f1"):
        open_encoder(model, "f9")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ModelError, match="holds no SavedModel"):
        open_encoder(tmp_path, "f1")


def test_an_encoder_that_tells_no_faults_is_refused(tmp_path):
    save_encoder(tmp_path / "1", "f1", has_faults=False)
    with pytest.raises(
        ModelError, match="no output 'valid'.; export the encoder again"
    ):
        open_encoder(tmp_path, "f1")


def test_the_last_user_frees_the_model(model):
    encoder = open_encoder(model, "f2")
    servable = encoder._servable
    watched = weakref.ref(servable)
    assert servable._session is not None
    del encoder
    gc.collect()
    assert servable._session is None
    del servable
    gc.collect()
    assert watched() is None
