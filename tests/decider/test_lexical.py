import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog
from simprod_tf.decider.lexical import SIMILARITIES, LexicalVectors


def catalog(titles, **columns):
    number = len(titles)
    empty = np.full(number, "", object)
    ids = np.array([f"p{row}" for row in range(number)], object)
    titles = np.array(titles, object)
    return Catalog(ids, titles, empty, empty, pa.table(columns))


TITLES = [
    "Canon PowerShot SD-1100 camera",
    "canon powershot sd1100",
    "Nikon Coolpix L18 camera",
    "",
    "Nikon coolpix l18 red",
]


def test_neighbours_share_rare_words_or_runs_of_letters():
    nearest = LexicalVectors.of(catalog(TITLES)).nearest(2)
    assert nearest[:, 0].tolist() == [1, 0, 4, -1, 2]
    assert nearest.dtype == np.int32


def test_neighbours_of_tables_are_of_other_tables():
    vectors = LexicalVectors.of(catalog(TITLES))
    tables = np.array(["a", "a", "b", "b", "a"])
    nearest = vectors.nearest(3, tables=tables)
    for row, others in enumerate(nearest):
        assert all(tables[other] != tables[row] for other in others if other >= 0)
    assert nearest[2, 0] == 4


def test_cosines_are_those_of_the_vectors_and_1_for_equal_texts():
    same = "canon powershot sd1100"
    vectors = LexicalVectors.of(catalog([*TITLES, same]))
    starts, ends = np.array([1, 1, 3]), np.array([5, 2, 1])
    found = vectors.cosines(starts, ends)
    assert tuple(found) == SIMILARITIES
    for name, values in found.items():
        dense = vectors.by_name[name].toarray()
        expected = (dense[starts] * dense[ends]).sum(axis=1)
        np.testing.assert_allclose(values, expected, atol=1e-6)
        assert values[0] == pytest.approx(1.0, abs=1e-6)
        assert values[2] == 0.0


def test_other_columns_count_but_prices_do_not():
    shared = ["stand for a lamp", "stand for a lamp"]
    with_text = LexicalVectors.of(catalog(["x1", "y2"], description=shared))
    assert with_text.cosines(np.array([0]), np.array([1]))["words"][0] > 0.5
    with_price = LexicalVectors.of(catalog(["x1", "y2"], price=["9.99", "9.99"]))
    assert with_price.cosines(np.array([0]), np.array([1]))["words"][0] == 0.0


def test_progress_counts_all_products():
    told = []
    LexicalVectors.of(catalog(TITLES)).nearest(1, progress=lambda *x: told.append(x))
    assert told == [(5, 5)]
