from __future__ import annotations

import sys

import numpy as np
import pytest

from simprod_tf.evaluation.index_recall import index_recall
from simprod_tf.index.exact import ExactIndex
from simprod_tf.index.vectors import Neighbours, nearest_rows


def unit(seed: int, n: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f4")


PRODUCTS, QUERIES = unit(0, 60), unit(1, 30)
INDEX = ExactIndex.build(
    [f"p{n}" for n in range(60)], PRODUCTS, encoder_fingerprint="f"
)


class Forgetful:
    """Searches the products, but never finds those in odd rows."""

    embeddings = PRODUCTS

    def __len__(self) -> int:
        return len(PRODUCTS)

    def search_rows(self, queries: np.ndarray, *, k: int) -> Neighbours:
        found = nearest_rows(queries, PRODUCTS[::2], k=k)
        return Neighbours(found.rows * 2, found.distances)


def test_an_exact_index_finds_all() -> None:
    found = index_recall(INDEX, QUERIES, k=10)
    assert found.shares.tolist() == [1.0] * 30
    assert (found.recall.value, found.recall.low) == (1, 1)
    assert index_recall(INDEX, QUERIES, k=100).recall.value == 1


def test_the_share_that_is_found_equals_a_sort_of_all_products(monkeypatch) -> None:
    # The package has a function of the module's name.
    module = sys.modules["simprod_tf.evaluation.index_recall"]
    monkeypatch.setattr(module, "_BLOCK_QUERIES", 7)
    found = index_recall(Forgetful(), QUERIES, k=5)
    order = np.argsort(
        np.linalg.norm(PRODUCTS[None] - QUERIES[:, None], axis=2), axis=1
    )[:, :5]
    np.testing.assert_allclose(found.shares, (order % 2 == 0).mean(axis=1))
    assert found.recall.value == pytest.approx(found.shares.mean())
    assert found.recall.low < found.recall.value < found.recall.high


def test_queries_of_one_group_are_drawn_together() -> None:
    found = index_recall(Forgetful(), QUERIES, k=5, query_groups=["one"] * 30)
    assert np.isnan(found.recall.low)


def test_nothing_to_ask_or_to_find_is_refused() -> None:
    with pytest.raises(ValueError, match="queries and products, got 0 and 60"):
        index_recall(INDEX, QUERIES[:0])
