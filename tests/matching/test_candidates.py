"""Candidates of 60 products with missing views and keys, against a slow oracle."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.index import ExactIndex, Index
from simprod_tf.matching.candidate_graph import ListedView
from simprod_tf.matching.candidates import Candidates, candidate_blocks
from simprod_tf.matching.keys import KeyGroups
from simprod_tf.matching.views import Views

N = 60
# Of every pair: distances by view, sources, rank, mutual.
Found = dict[tuple[int, int], tuple[tuple[float, ...], frozenset[str], int, bool]]


def index_of(rows: np.ndarray, *, seed: int, dim: int) -> Index:
    vectors = np.random.default_rng(seed).normal(size=(N, dim)).astype(np.float32)
    # Equal products: a product need not be the first of its own neighbours.
    vectors[[5, 6]] = vectors[4]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"p{row}" for row in rows]
    return ExactIndex.build(ids, vectors[rows], encoder_fingerprint="f")


@pytest.fixture(scope="module")
def indexes() -> dict[str, Index]:
    rng = np.random.default_rng(9)
    every = np.arange(N)
    return {
        "both": index_of(every, seed=0, dim=4),
        "image": index_of(rng.permutation(N)[:45], seed=1, dim=3),
        "text": index_of(every[every % 7 != 0], seed=2, dim=3),
    }


@pytest.fixture(scope="module")
def views(indexes: dict[str, Index]) -> Views:
    return Views(indexes)


@pytest.fixture(scope="module")
def models() -> list[str]:
    chosen = np.random.default_rng(3).integers(0, 60, N)
    return [f"model{number}" if number < 50 else "" for number in chosen]


@pytest.fixture(scope="module")
def keys(models: list[str]) -> KeyGroups:
    return KeyGroups.of_columns(pa.table({"mpn": models}), {"mpn": "model"})


def oracle(indexes: dict[str, Index], models: list[str], k: int) -> Found:
    """Returns all candidates of all products, found one by one."""
    vectors = {
        name: dict(zip(index.ids, index.embeddings)) for name, index in indexes.items()
    }

    def gap(name: str, a: int, b: int) -> float:
        first, second = vectors[name].get(f"p{a}"), vectors[name].get(f"p{b}")
        if first is None or second is None:
            return np.nan
        return float(np.linalg.norm(first - second))

    sources: dict[tuple[int, int], set[str]] = {}
    for name, index in indexes.items():
        # In the view's own order: that is how it breaks ties.
        rows = [int(id[1:]) for id in index.ids]
        for a in rows:
            others = sorted((b for b in rows if b != a), key=lambda b: gap(name, a, b))
            for b in others[:k]:
                sources.setdefault((a, b), set()).add(name)
    for a in range(N):
        for b in range(N):
            if a != b and models[a] and models[a] == models[b]:
                sources.setdefault((a, b), set()).add("key:model")
    found: Found = {}
    for a in range(N):
        mine = sorted(b for start, b in sources if start == a)
        mine.sort(key=lambda b: gap("both", a, b))
        for rank, b in enumerate(mine, start=1):
            via = sources[a, b]
            gaps = tuple(gap(name, a, b) for name in indexes)
            mutual = bool(via & sources.get((b, a), set()))
            found[a, b] = gaps, frozenset(via), rank, mutual
    return found


def listed(blocks: list[Candidates]) -> Found:
    found: Found = {}
    for block in blocks:
        for at in range(len(block)):
            pair = int(block.starts[at]), int(block.ends[at])
            assert pair not in found
            gaps = tuple(float(gaps[at]) for gaps in block.distances.values())
            via = {s for s in block.sources if block.proposed_by(s)[at]}
            mutual = block.mutual is not None and bool(block.mutual[at])
            found[pair] = gaps, frozenset(via), int(block.ranks[at]), mutual
    return found


def assert_same(found: Found, expected: Found) -> None:
    assert found.keys() == expected.keys()
    for pair, (gaps, *others) in expected.items():
        np.testing.assert_allclose(found[pair][0], gaps, atol=1e-6)
        assert list(found[pair][1:]) == others


@pytest.mark.parametrize(("k", "block"), [(1, 7), (3, 60), (4, 8192), (80, 16)])
def test_candidates_agree_with_the_oracle(
    views: Views,
    indexes: dict[str, Index],
    keys: KeyGroups,
    models: list[str],
    k: int,
    block: int,
) -> None:
    found = list(candidate_blocks(views, k=k, keys=keys, mutual=True, block=block))
    expected = oracle(indexes, models, k)
    assert_same(listed(found), expected)
    sources = {source for _, via, _, _ in expected.values() for source in via}
    assert sources == {"both", "image", "text", "key:model"}
    one_sided = [pair for pair, values in expected.items() if not values[-1]]
    assert bool(one_sided) == (k < N)


def test_one_index_alone_gives_its_nearest(indexes: dict[str, Index]) -> None:
    both = {"both": indexes["both"]}
    found = listed(list(candidate_blocks(Views(both), k=3)))
    assert_same(
        found,
        {
            pair: (gaps, via, rank, False)
            for pair, (gaps, via, rank, _) in oracle(both, [""] * N, 3).items()
        },
    )
    assert len(found) == 3 * N


@pytest.mark.parametrize("mutual", [False, True])
def test_some_queries_find_what_they_find_among_all(
    views: Views,
    indexes: dict[str, Index],
    keys: KeyGroups,
    models: list[str],
    mutual: bool,
) -> None:
    queries = ["p14", "p5", "p14", "p33"]
    blocks = list(
        candidate_blocks(views, k=3, keys=keys, queries=queries, mutual=mutual, block=2)
    )
    assert [block.queries.tolist() for block in blocks] == [[14, 5], [33]]
    assert [(block.mutual is None) for block in blocks] == [not mutual] * 2
    expected = {
        pair: (*values[:-1], values[-1] and mutual)
        for pair, values in oracle(indexes, models, 3).items()
        if pair[0] in (14, 5, 33)
    }
    assert_same(listed(blocks), expected)


def test_a_block_stands_in_the_order_of_its_queries(views: Views) -> None:
    queries = ["p9", "p2", "p40"]
    (block,) = candidate_blocks(views, k=4, queries=queries)
    order = [list(block.queries).index(start) for start in block.starts]
    assert order == sorted(order)
    for query in block.queries:
        mine = block.starts == query
        assert block.ranks[mine].tolist() == list(range(1, mine.sum() + 1))
        assert np.all(np.diff(block.distances["both"][mine]) >= 0)


@pytest.mark.parametrize("mutual", [False, True])
def test_progress_counts_the_queries(views: Views, mutual: bool) -> None:
    seen: list[tuple[int, int]] = []
    blocks = candidate_blocks(
        views,
        k=1,
        mutual=mutual,
        block=25,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert len(list(blocks)) == 3
    assert seen == [(25, 60), (50, 60), (60, 60)]


@pytest.mark.parametrize("mutual", [False, True])
def test_few_products_or_none_have_few_candidates_or_none(mutual: bool) -> None:
    vectors = np.eye(2, dtype=np.float32)
    for size in (0, 1):
        index = ExactIndex.build(["a"][:size], vectors[:size], encoder_fingerprint="f")
        blocks = list(candidate_blocks(Views({"both": index}), k=2, mutual=mutual))
        assert [len(block) for block in blocks] == [0] * size


def test_candidate_blocks_refuses_at_the_call(views: Views, keys: KeyGroups) -> None:
    with pytest.raises(ValueError, match="at least 1, got 0 and 5"):
        candidate_blocks(views, k=0, block=5)
    with pytest.raises(ValueError, match="at least 1, got 3 and 0"):
        candidate_blocks(views, k=3, block=0)
    with pytest.raises(KeyError, match="holds no product 'x'"):
        candidate_blocks(views, k=3, queries=["p1", "x"])
    small = Views(
        {
            "both": ExactIndex.build(
                ["a"], np.eye(1, 2, dtype=np.float32), encoder_fingerprint="f"
            )
        }
    )
    with pytest.raises(ValueError, match="those of 60 products, the index holds 1"):
        candidate_blocks(small, k=1, keys=keys)


def test_candidates_are_ranked_by_the_decider_where_there_is_one(
    views: Views,
) -> None:
    neighbours = np.tile(np.array([[58, 59]], np.int32), (N, 1))
    decided = views.replaced(
        {
            "decider": ListedView(
                neighbours, lambda starts, ends: (ends / N).astype(np.float32)
            )
        }
    )
    ids = ["p0", "p1"]
    (block,) = candidate_blocks(decided, k=3, queries=ids)
    (plain,) = candidate_blocks(views, k=3, queries=ids)
    for query in (0, 1):
        ends = block.ends[block.starts == query]
        # By rising row, which is the decider's distance.
        assert ends.tolist() == sorted({58, 59, *plain.ends[plain.starts == query]})
        ranks = block.ranks[block.starts == query]
        assert ranks.tolist() == list(range(1, len(ends) + 1))
    lexical = block.proposed_by("decider")
    assert set(block.ends[lexical].tolist()) == {58, 59}
    assert block.sources == (*views.names, "decider")
