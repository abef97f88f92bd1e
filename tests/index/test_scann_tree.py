"""ScaNN's tree, beside a plain search of the same products."""

from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.errors import ModelError, RecallError
from simprod_tf.index.scann_tree import Tree, ask_all
from simprod_tf.index.tuning import ScannSettings, Tuning

N, DIM = 600, 16


def vectors_of(n: int, seed: int) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(n, DIM))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


EMBEDDINGS = vectors_of(N, 0)
QUERIES = vectors_of(40, 1)
# All leaves, all points compared anew.
THOROUGH = ScannSettings(12, leaves_to_search=12, reordered=N)
NARROW = ScannSettings(60, leaves_to_search=1, reordered=10)


def by_hand(query: np.ndarray, k: int) -> list[int]:
    distances = np.linalg.norm(EMBEDDINGS - query, axis=1)
    return np.argsort(distances)[:k].tolist()


@pytest.fixture(scope="module")
def tree() -> Tree:
    return Tree.trained(EMBEDDINGS, Tuning(recall=1, settings=THOROUGH))


@pytest.fixture(scope="module")
def narrow() -> Tree:
    return Tree.trained(EMBEDDINGS, Tuning(settings=NARROW, allow_miss=True))


def test_a_thorough_tree_misses_nothing(tree: Tree) -> None:
    assert tree.tuned.recall == 1
    found = tree.nearest(QUERIES, EMBEDDINGS, k=5)
    assert found.rows.tolist() == [by_hand(query, 5) for query in QUERIES]
    true = np.linalg.norm(EMBEDDINGS[found.rows] - QUERIES[:, None], axis=2)
    np.testing.assert_allclose(found.distances, true, atol=1e-5)
    assert tree.recall_of(np.arange(50), EMBEDDINGS) == 1


def test_one_query_is_answered_alone_where_that_is_simple(tree: Tree) -> None:
    for query in QUERIES:
        found = tree.nearest_of_one(query, k=10)
        assert found is not None
        assert found.rows.tolist() == [by_hand(query, 10)]
        true = np.linalg.norm(EMBEDDINGS[found.rows] - query, axis=2)
        np.testing.assert_allclose(found.distances, true, atol=1e-5)


def test_what_is_not_simple_is_left_to_the_ordinary_way(
    tree: Tree, narrow: Tree
) -> None:
    assert tree.nearest_of_one(QUERIES[0], k=11) is None
    assert tree.nearest_of_one(QUERIES[0], k=0) is None
    # A product's distance to itself is no square root of a rounding.
    assert tree.nearest_of_one(EMBEDDINGS[7], k=3) is None
    found = tree.nearest(EMBEDDINGS[[7]], EMBEDDINGS, k=3)
    assert (found.rows[0, 0], found.distances[0, 0]) == (7, 0)
    # One leaf of 10 products on average: some hold fewer.
    alone = [narrow.nearest_of_one(query, k=10) for query in QUERIES]
    assert None in alone


def test_products_that_are_the_same_come_in_the_order_of_rows() -> None:
    twice = np.concatenate([EMBEDDINGS[:300], EMBEDDINGS[:300]])
    tree = Tree.trained(twice, Tuning(recall=0.5, settings=THOROUGH))
    [first, second] = tree.nearest(EMBEDDINGS[[42]], twice, k=2).rows[0].tolist()
    assert (first, second) == (42, 342)
    assert tree.nearest_of_one(QUERIES[0], k=2) is None


def test_leaves_with_too_few_products_lead_to_a_search_of_all(narrow: Tree) -> None:
    found = narrow.nearest(QUERIES, EMBEDDINGS, k=400)
    assert (found.rows >= 0).all()
    for query, rows in zip(QUERIES, found.rows.tolist()):
        # Among so many, some are equally far but for rounding.
        assert len(set(rows) & set(by_hand(query, 400))) >= 399
    single = narrow.nearest(QUERIES[:1], EMBEDDINGS, k=400)
    assert single.rows.tolist() == found.rows[:1].tolist()


def test_a_missed_recall_tells_the_ways_out(narrow: Tree) -> None:
    assert narrow.tuned.recall < 0.9
    message = (
        r"reaches recall@10 0\.\d{3}, measured on 200 products \(1 of 60 leaves, 10 "
        r"reordered\), but 0\.9 was asked for\..*--allow-low-recall.*--kind exact"
    )
    with pytest.raises(RecallError, match=message):
        Tree.trained(EMBEDDINGS, Tuning(recall=0.9, settings=NARROW))


def test_too_many_leaves_are_refused() -> None:
    with pytest.raises(ModelError, match="cannot divide 600 products into 700 leaves"):
        Tree.trained(EMBEDDINGS, Tuning(settings=ScannSettings(700, 1)))


def test_settings_are_chosen_where_none_are_given() -> None:
    tree = Tree.trained(EMBEDDINGS, Tuning(recall=0.8))
    # 2 sqrt(600) leaves, of which fewer than all do.
    assert tree.tuned.settings.num_leaves == 49
    assert tree.tuned.settings.leaves_to_search < 49
    recall = tree.recall_of(np.arange(N), EMBEDDINGS)
    assert 0.75 < recall < 1
    assert tree.tuned.recall == pytest.approx(recall, abs=0.05)


def test_ask_all_gives_dot_products_highest_first() -> None:
    from simprod_tf.index.scann_files import brute_searcher

    rows, dots = ask_all(brute_searcher(EMBEDDINGS), QUERIES, k=4)
    assert rows.dtype == np.int64
    assert rows.tolist() == [by_hand(query, 4) for query in QUERIES]
    expected = np.take_along_axis(QUERIES @ EMBEDDINGS.T, rows, axis=1)
    np.testing.assert_allclose(dots, expected, atol=1e-5)
