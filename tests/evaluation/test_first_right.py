from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.evaluation.first_right import far_first_ranks
from simprod_tf.evaluation.sides import Members, Side


def slow_rank(query: int, queries: Side, candidates: Side) -> int:
    """Sorts all candidates but the query itself by (distance, row)."""
    others = np.flatnonzero(candidates.ids != queries.ids[query])
    apart = candidates.embeddings[others] - queries.embeddings[query]
    order = others[np.argsort(np.square(apart).sum(axis=1), kind="stable")]
    right = candidates.groups[order] == queries.groups[query]
    return int(right.argmax()) + 1 if right.any() else 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("at_once", [64, 1 << 23])
def test_ranks_equal_a_full_sort_with_ties(
    monkeypatch: pytest.MonkeyPatch, seed: int, at_once: int
) -> None:
    monkeypatch.setattr("simprod_tf.evaluation.first_right._BLOCK_SCORES", at_once)
    generator = np.random.default_rng(seed)
    # Corners of a cube: of unit length, exact in float32, with many ties.
    embeddings = generator.choice([-0.5, 0.5], size=(40, 4)).astype(np.float32)
    groups = generator.integers(12, size=40)
    candidates = Side(embeddings, groups, np.arange(40))
    queries = candidates.take(np.arange(5, 25))
    found = far_first_ranks(queries, candidates, Members.by_group(groups))
    assert found.tolist() == [slow_rank(q, queries, candidates) for q in range(20)]


def test_no_right_candidate_has_rank_zero() -> None:
    one = Side(np.eye(2, dtype=np.float32), np.array([0, 1]), np.array([0, 1]))
    found = far_first_ranks(one, one, Members.by_group(one.groups))
    assert found.tolist() == [0, 0]
    nobody = one.take(np.zeros(0, np.int64))
    assert far_first_ranks(one, nobody, Members.by_group(nobody.groups)).tolist() == [
        0,
        0,
    ]
