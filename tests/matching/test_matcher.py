"""The table of matches, against a slow oracle on 40 products."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.index import ExactIndex, Index
from simprod_tf.matching import Calibration, find_matches, matcher

N = 40


@pytest.fixture(scope="module")
def index() -> Index:
    vectors = np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32)
    # Three equal products: a product need not be the first of its own neighbours.
    vectors[[5, 6]] = vectors[4]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"p{row}" for row in range(N)]
    return ExactIndex.build(ids, vectors, encoder_fingerprint="f")


def oracle(index: Index, k: int, max_distance: float) -> dict[tuple[str, str], int]:
    """Returns the rank of each match, found one by one."""
    ranks = {}
    for row, vector in enumerate(index.embeddings):
        gaps = np.linalg.norm(index.embeddings - vector, axis=1)
        order = [other for other in np.argsort(gaps, kind="stable") if other != row]
        for rank, other in enumerate(order[:k], start=1):
            if gaps[other] <= max_distance:
                ranks[f"p{row}", f"p{other}"] = rank
    return ranks


def ranks_of(table: pa.Table) -> dict[tuple[str, str], int]:
    found = {(m["query_id"], m["id"]): m["rank"] for m in table.to_pylist()}
    assert len(found) == len(table)
    return found


@pytest.mark.parametrize(("k", "max_distance"), [(1, 2), (3, 0.4), (39, 0.7), (99, 2)])
@pytest.mark.parametrize("block", [7, 8192])
def test_matches_agree_with_the_oracle(
    index: Index,
    k: int,
    max_distance: float,
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matcher, "_BLOCK", block)
    table = find_matches(index, k=k, max_distance=max_distance)
    assert ranks_of(table) == oracle(index, k, max_distance)


def test_the_columns_are_those_of_the_schema(index: Index) -> None:
    table = find_matches(index, k=3, max_distance=0.5)
    assert str(table.schema) == (
        "query_id: string\nid: string\nrank: int32\ndistance: float\nprobability: float"
    )
    assert table["probability"].null_count == len(table) > 0
    assert max(table["distance"].to_pylist()) <= 0.5


def test_a_calibration_gives_probabilities(index: Index) -> None:
    curve = Calibration(slope=-3.0, intercept=1.0)
    table = find_matches(index, k=3, max_distance=0.5, decision=curve)
    expected = 1 / (1 + np.exp(3 * table["distance"].to_numpy() - 1))
    np.testing.assert_allclose(table["probability"].to_numpy(), expected, rtol=1e-5)


def test_a_product_does_not_match_itself_but_its_doubles(index: Index) -> None:
    table = find_matches(index, k=5, max_distance=0, queries=["p6", "p4", "p6"])
    found = [(m["query_id"], m["id"], m["rank"]) for m in table.to_pylist()]
    assert found == [("p6", "p4", 1), ("p6", "p5", 2), ("p4", "p5", 1), ("p4", "p6", 2)]


@pytest.mark.parametrize("queries", [None, [f"p{row}" for row in range(0, N, 3)]])
def test_mutual_keeps_what_stands_in_both_directions(
    index: Index, queries: list[str] | None
) -> None:
    every = oracle(index, 3, 0.8)
    expected = {
        pair: rank
        for pair, rank in every.items()
        if pair[::-1] in every and (queries is None or pair[0] in queries)
    }
    table = find_matches(index, k=3, max_distance=0.8, mutual=True, queries=queries)
    assert ranks_of(table) == expected
    assert 0 < len(expected) < len(every)


def test_progress_counts_the_queries(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matcher, "_BLOCK", 16)
    seen: list[tuple[int, int]] = []
    find_matches(
        index, k=1, max_distance=1, progress=lambda done, all: seen.append((done, all))
    )
    assert seen == [(16, 40), (32, 40), (40, 40)]


@pytest.mark.parametrize("mutual", [False, True])
def test_no_products_give_an_empty_table(mutual: bool) -> None:
    empty = ExactIndex.build([], np.empty((0, 3), np.float32), encoder_fingerprint="f")
    table = find_matches(empty, k=3, max_distance=1, mutual=mutual)
    assert table.num_rows == 0
    assert table.column_names == ["query_id", "id", "rank", "distance", "probability"]


def test_find_matches_refuses(index: Index) -> None:
    with pytest.raises(ValueError, match="got 0 and 1"):
        find_matches(index, k=0, max_distance=1)
    with pytest.raises(ValueError, match="got 3 and nan"):
        find_matches(index, k=3, max_distance=float("nan"))
    with pytest.raises(KeyError, match="holds no product 'x'"):
        find_matches(index, k=3, max_distance=1, queries=["x"])
