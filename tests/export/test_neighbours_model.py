"""The graph of an exported index: answers worked by hand, and those of plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import simprod_tf.export.neighbours_model as neighbours_model
from simprod_tf.export.neighbours_model import ExactCandidates, NeighboursModel

AXES = np.array([[1, 0], [0, 1], [-1, 0], [0, 1]], np.float32)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def random_vectors(n, *, dim=8, seed=0):
    return unit(np.random.default_rng(seed).normal(size=(n, dim)))


def model_of(vectors, *, k):
    ids = [f"p{row}" for row in range(len(vectors))]
    return NeighboursModel(ids, ExactCandidates(vectors, wanted=k + 32), k=k)


def asked(model, queries):
    """Returns lists of ids and the [B, k] distances."""
    found = model.neighbours(embedding=tf.constant(queries, tf.float32))
    ids = [[id.decode() for id in line] for line in found["id"].numpy()]
    return ids, found["distance"].numpy()


def test_distances_on_the_axes_are_0_sqrt_2_and_2_and_ties_come_in_row_order():
    ids, distances = asked(model_of(AXES, k=4), AXES[:2])
    assert ids == [["p0", "p1", "p3", "p2"], ["p1", "p3", "p0", "p2"]]
    root = np.float32(2**0.5)
    np.testing.assert_array_equal(distances, [[0, root, root, 2], [0, 0, root, root]])


def test_fewer_products_than_k_give_fewer_columns():
    ids, distances = asked(model_of(AXES[:3], k=10), AXES[:1])
    assert ids == [["p0", "p1", "p2"]]
    assert distances.shape == (1, 3)
    ids, distances = asked(model_of(AXES[:1], k=10), AXES[:2])
    assert ids == [["p0"], ["p0"]]


def test_a_query_of_which_nothing_is_known_finds_nothing():
    queries = [[0, 0], [np.nan, 1], [np.inf, 0], [1, 0]]
    ids, distances = asked(model_of(AXES, k=2), queries)
    assert ids == [["", ""], ["", ""], ["", ""], ["p0", "p1"]]
    assert np.isposinf(distances[:3]).all()
    assert np.isfinite(distances[3]).all()


def test_a_query_of_another_length_is_divided_by_it():
    queries = random_vectors(5, seed=1)
    model = model_of(random_vectors(60), k=7)
    expected = asked(model, queries)
    found = asked(model, queries * np.float32([[0.01], [3], [1000], [0.5], [1]]))
    assert found[0] == expected[0]
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


def test_no_query_gives_no_answer():
    ids, distances = asked(model_of(AXES, k=3), np.zeros((0, 2)))
    assert ids == []
    assert distances.shape == (0, 3)


# The last block is whole, short, of one row, and the only one.
@pytest.mark.parametrize("block", [10, 9, 83, 1000])
@pytest.mark.parametrize("k", [1, 12, 250])
def test_blocks_give_what_plain_numpy_gives(monkeypatch, block, k):
    monkeypatch.setattr(neighbours_model, "BLOCK_ROWS", block)
    vectors, queries = random_vectors(250), random_vectors(3, seed=1)
    ids, distances = asked(model_of(vectors, k=k), queries)
    for line, query in enumerate(queries):
        far = np.sqrt(((vectors.astype(np.float64) - query) ** 2).sum(axis=1))
        order = np.argsort(far, kind="stable")[:k]
        assert ids[line] == [f"p{row}" for row in order]
        np.testing.assert_allclose(distances[line], far[order], atol=1e-6)


def test_a_product_is_at_distance_0_from_itself_and_from_its_doubles():
    vectors = random_vectors(300)
    vectors[[40, 100, 170]] = vectors[7]
    ids, distances = asked(model_of(vectors, k=5), vectors)
    assert ids[7][:4] == ["p7", "p40", "p100", "p170"]
    assert (distances[:, 0] == 0).all()
    assert (distances[7, :4] == 0).all()


def test_candidates_are_the_largest_dot_products_each_once():
    vectors, queries = random_vectors(40), random_vectors(2, seed=1)
    rows = ExactCandidates(vectors, wanted=6)(tf.constant(queries)).numpy()
    expected = np.argsort(-queries @ vectors.T, axis=1)[:, :6]
    np.testing.assert_array_equal(rows, expected)
    assert rows.dtype == np.int32
