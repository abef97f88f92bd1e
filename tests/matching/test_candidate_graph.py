"""Candidates of 30 products on a circle as a held graph, against the plain search."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.index import ExactIndex
from simprod_tf.matching.candidate_graph import (
    HeldDistances,
    ListedView,
    candidate_edges,
    listed_views,
)
from simprod_tf.matching.candidates import candidate_blocks
from simprod_tf.matching.keys import KeyGroups
from simprod_tf.matching.views import Views

N = 30


def index_of(rows: np.ndarray, *, seed: int) -> ExactIndex:
    vectors = np.random.default_rng(seed).normal(size=(N, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"p{row}" for row in rows]
    return ExactIndex.build(ids, vectors[rows], encoder_fingerprint="f")


@pytest.fixture(scope="module")
def views() -> Views:
    every = np.arange(N)
    return Views(
        {"both": index_of(every, seed=0), "text": index_of(every[::2], seed=1)}
    )


@pytest.fixture(scope="module")
def keys() -> KeyGroups:
    models = [f"model{row % 9}" if row < 20 else "" for row in range(N)]
    return KeyGroups.of_columns(pa.table({"mpn": models}), {"mpn": "model"})


def pairs_of(blocks) -> set[tuple[int, int]]:
    return {
        (min(pair), max(pair))
        for block in blocks
        for pair in zip(block.starts.tolist(), block.ends.tolist())
    }


def test_listed_views_answer_as_the_views_do(views: Views) -> None:
    told = []
    listed = listed_views(views, k=4, progress=lambda *done: told.append(done))
    assert told == [(N, N)] and listed.names == views.names
    rows = np.array([3, 0, 8])
    for name in views.names:
        for k in (2, 4):
            nearest = listed.nearest(name, rows, k=k)
            np.testing.assert_array_equal(nearest, views.nearest(name, rows, k=k))
        np.testing.assert_array_equal(
            listed.distances(name, rows, rows[::-1].copy()),
            views.distances(name, rows, rows[::-1].copy()),
        )


def test_a_list_that_is_too_short_is_filled_up() -> None:
    view = ListedView(np.array([[1, 2], [0, -1], [0, 1]], np.int32), np.subtract)
    assert view.nearest(np.array([2, 1]), k=3).tolist() == [[0, 1, -1], [0, -1, -1]]
    assert view.nearest(np.array([0]), k=1).tolist() == [[1]]


def test_the_edges_are_all_candidates_once(views: Views, keys: KeyGroups) -> None:
    edges = candidate_edges(views, k=3, keys=keys)
    found = [tuple(pair) for pair in edges.tolist()]
    assert edges.dtype == np.int32 and len(set(found)) == len(found)
    assert set(found) == pairs_of(candidate_blocks(views, k=3, keys=keys))
    assert len(candidate_edges(views, k=3)) < len(found)


def test_products_of_one_table_are_no_candidates(views: Views, keys: KeyGroups) -> None:
    tables = np.where(np.arange(N) % 3 == 0, "left", "right")
    listed = listed_views(views, k=5, tables=tables)
    rows = np.arange(N)
    nearest = listed.nearest("both", rows, k=5)
    plain = views.nearest("both", rows, k=5)
    kept = tables[plain] != tables[rows, None]
    np.testing.assert_array_equal(nearest[kept], plain[kept])
    assert (nearest[~kept] == -1).all()
    edges = candidate_edges(listed, k=5, keys=keys, tables=tables)
    assert (tables[edges[:, 0]] != tables[edges[:, 1]]).all()
    plainly = candidate_blocks(views, k=5, keys=keys, tables=tables)
    assert {tuple(pair) for pair in edges.tolist()} == pairs_of(plainly)


def test_a_table_for_each_product_is_needed(views: Views) -> None:
    with pytest.raises(ValueError, match="a table for 2 products, the index holds 30"):
        candidate_blocks(views, k=1, tables=np.array(["a", "b"]))


def test_each_pair_is_asked_for_once() -> None:
    asked: list[tuple[int, int]] = []

    def ask(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        asked.extend(zip(starts.tolist(), ends.tolist()))
        return (starts * 10 + ends).astype(np.float32)

    told = []
    held = HeldDistances(
        np.array([[1, 0], [2, 3]], np.int32),
        ask,
        num_products=5,
        progress=lambda *done: told.append(done),
    )
    assert asked == [(0, 1), (2, 3)] and told == [(2, 2)]
    starts, ends = np.array([3, 2, 0, 4, 1]), np.array([2, 3, 1, 0, 4])
    # 0-4 and 1-4 are no edges: asked for now, in one direction.
    assert held(starts, ends).tolist() == [23, 23, 1, 4, 14]
    assert asked[2:] == [(0, 4), (1, 4)]
    assert held(starts[:0], ends[:0]).shape == (0,)
    nothing = HeldDistances(np.empty((0, 2), np.int32), ask, num_products=5)
    assert nothing(np.array([1]), np.array([0])).tolist() == [1]
