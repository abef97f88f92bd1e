"""An encoder that is not trained yet, and what it takes of a catalogue."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import SimprodError
from simprod_tf.model.encoder import EncoderSettings
from simprod_tf.pipeline.plan import ImageSettings, TrainPlan, WordSettings
from simprod_tf.pipeline.prepare import prepare_encoder
from simprod_tf.training.embedder import Embedder
from simprod_tf.training.settings import TrainingSettings

PLAN = {
    "words": WordSettings(dim=4, epochs=1),
    "encoder": EncoderSettings(embedding_dim=8, dropout=0),
}


@pytest.fixture
def products(tmp_path, make_picture):
    """Makes a catalogue of so many products; every third has no picture."""

    def make(count, first=0):
        ids, titles, images = [], [], []
        for row in range(first, first + count):
            path = tmp_path / f"{row}.png"
            make_picture(row, (30, 20)).save(path)
            ids.append(f"p{row}")
            titles.append(f"mug number{row % 4} blue")
            images.append("" if row % 3 == 2 else str(path))
        groups = text_array([""] * count)
        return Catalog(
            text_array(ids),
            text_array(titles),
            text_array(images),
            groups,
            pa.table({}),
        )

    return make


@pytest.mark.parametrize("frozen", [True, False])
def test_another_catalogue_becomes_the_inputs_of_the_model(products, tmp_path, frozen):
    plan = TrainPlan(image=ImageSettings(frozen=frozen, dtype="float32"), **PLAN)
    prepared = prepare_encoder(products(6), plan, store=tmp_path / "store")
    assert prepared.tower_names == ("small",)
    assert prepared.model is (
        prepared.trained.head if frozen else prepared.trained.model
    )
    other = products(5, first=4)
    arrays = prepared.arrays(other)
    wanted = "small_features" if frozen else "small_pixels"
    assert set(arrays) == {"word_ids", "has_image", wanted}
    assert {len(array) for array in arrays.values()} == {5}
    # Products 5 and 8 have no picture.
    assert arrays["has_image"].ravel().tolist() == [1, 0, 1, 1, 0]
    found = Embedder(prepared.model, arrays).embed(np.arange(5))
    expected = prepared.trained.encode(list(other))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (tmp_path / "store").exists() == frozen


def test_half_precision_in_the_store_changes_little(products, tmp_path):
    catalog = products(6)
    plan = TrainPlan(image=ImageSettings(frozen=True), **PLAN)
    prepared = prepare_encoder(catalog, plan, store=tmp_path)
    arrays = prepared.arrays(catalog)
    found = Embedder(prepared.model, arrays).embed(np.arange(6))
    expected = prepared.trained.encode(list(catalog))
    assert 1e-7 < np.abs(found - expected).max() < 1e-3


def test_the_seed_decides_the_encoder_and_its_words(products, tmp_path):
    catalog = products(6)
    plans = [TrainPlan(training=TrainingSettings(seed=n), **PLAN) for n in (1, 1, 2)]
    found = [prepare_encoder(catalog, plan) for plan in plans]
    one, same, other = (prepared.trained.fingerprint for prepared in found)
    assert one == same != other
    assert found[0].coverage.to_json()["token_share"] == 1.0


def test_precomputed_vectors_are_a_source(products):
    catalog = products(4)
    table = VectorTable("clip", catalog.ids[:3], np.eye(3, dtype=np.float32))
    prepared = prepare_encoder(catalog, TrainPlan(**PLAN), tables=[table])
    arrays = prepared.arrays(catalog)
    found = arrays["clip_features"][np.arange(4)]
    np.testing.assert_array_equal(found, np.eye(4, 3))
    assert arrays["has_clip"].ravel().tolist() == [1, 1, 1, 0]


def test_raw_features_are_joined_and_no_more(products):
    prepared = prepare_encoder(products(4), TrainPlan(raw=True, **PLAN))
    assert prepared.trained.dim == 576 + 4
    assert not prepared.trained.head.get_layer("embedding").weights


def test_nothing_to_embed_is_refused():
    empty = text_array(["", ""])
    catalog = Catalog(text_array(["a", "b"]), empty, empty, empty, pa.table({}))
    with pytest.raises(SimprodError, match="no picture, no word and no attribute"):
        prepare_encoder(catalog)
