"""Catalogue and settings -> sources: words, towers, attributes, stored features."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import SimprodError
from simprod_tf.pipeline.plan import (
    AttributeSettings,
    ImageSettings,
    TowerSettings,
    TrainPlan,
    WordSettings,
)
from simprod_tf.pipeline.progress import silent
from simprod_tf.pipeline.sources import (
    catalog_words,
    image_towers,
    prepare_sources,
    stored_features,
)

TITLES = ["red mug", "red red cup", "blue mug xq-77", "blue blue zz9"]


@pytest.fixture
def catalog(tmp_path):
    Image.new("RGB", (9, 9), (200, 10, 10)).save(tmp_path / "red.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    images = ["", str(tmp_path / "red.png"), str(tmp_path / "bad.png"), ""]
    return Catalog(
        text_array(["a", "b", "c", "d"]),
        text_array(TITLES),
        text_array(images),
        text_array([""] * 4),
        pa.table({"brand": ["X", "x ", "Y", None], "price": ["1", "2", "", "4"]}),
    )


def prepared(catalog, tables=(), **settings):
    return prepare_sources(catalog, TrainPlan(**settings), tables, progress=silent)


def test_rare_words_are_those_of_few_titles(catalog):
    settings = WordSettings(dim=4, epochs=1, min_count=2)
    vectors, titles, _ = catalog_words(catalog, settings, silent)
    # "red" and "blue" stand in two titles; "xq-77" and its parts in one.
    assert set(vectors.words) == {"red", "mug", "blue"}
    assert titles[2] == ["blue", "mug", "xq-77", "xq", "77"]


def test_unknown_words_fill_buckets_and_the_others_weigh_nothing(catalog):
    words = WordSettings(
        dim=4, epochs=1, min_count=2, unknown="hash", buckets=500, weighting="plain"
    )
    found = prepared(catalog, words=words)
    (text,) = [one for one in found.sources if one.name == "text"]
    assert text.weights.shape == (3 + 500,)
    assert (text.weights[:3] == 1).all()
    # cup, xq-77, xq, 77 and zz9: five words, in different buckets.
    assert np.count_nonzero(text.weights[3:]) == 5
    assert found.inputs.text.buckets == 500
    assert found.coverage.unknown[0][1] == 1
    assert found.coverage.known_titles == 4


def test_sif_takes_a_common_direction_away(catalog):
    plain = prepared(catalog, words=WordSettings(dim=4, epochs=1)).sources[-1]
    sif = prepared(
        catalog, words=WordSettings(dim=4, epochs=1, weighting="sif")
    ).sources[-1]
    assert plain.common is None
    assert np.linalg.norm(sif.common) == pytest.approx(1, rel=1e-5)
    assert sif.weights.min() < 0.02


def test_attributes_and_vectors_are_sources(catalog):
    found = prepared(
        catalog,
        [VectorTable("clip", ["a"], np.ones((1, 5), np.float32))],
        attributes=AttributeSettings(("brand",), ("price",)),
        words=WordSettings(dim=4, epochs=1),
    )
    by_name = {one.name: one for one in found.sources}
    assert set(by_name) == {"small", "text", "brand", "price", "clip"}
    assert by_name["brand"].num_values == 2
    assert by_name["price"].points[0] == 1
    assert by_name["price"].points[-1] == 4
    assert by_name["clip"].dim == 5


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (AttributeSettings(("colour",)), "no column 'colour'"),
        (AttributeSettings((), ("brand",)), "'a': brand must be a number, got 'X'"),
    ],
)
def test_columns_that_cannot_be_sources_are_refused(catalog, attributes, message):
    with pytest.raises(SimprodError, match=message):
        prepared(catalog, attributes=attributes, words=WordSettings(dim=4, epochs=1))


def test_two_towers_of_one_kind_have_names_of_their_own(catalog):
    twice = ImageSettings((TowerSettings(), TowerSettings()), frozen=True)
    towers = image_towers(catalog, twice)
    assert [one.name for one in towers] == ["small", "small_2"]
    assert not any(one.model.trainable for one in towers)


def test_no_picture_is_no_tower(catalog):
    assert image_towers(catalog.take(np.array([0, 3])), ImageSettings()) == ()


def test_stored_features_are_the_towers_own(catalog, tmp_path):
    (tower,) = image_towers(catalog, ImageSettings(frozen=True))
    stored = stored_features(tower, catalog, tmp_path / "s", dtype="float32")
    assert stored.features.present.tolist() == [False, True, False, False]
    assert [one.id for one in stored.extraction.unreadable] == ["c"]
    pixels = np.full((1, 64, 64, 3), (200, 10, 10), np.float32)
    assert np.allclose(stored.features[1], tower.model(pixels)[0], atol=1e-4)
    again = stored_features(tower, catalog, tmp_path / "s", dtype="float32")
    assert again.extraction.computed == 0
