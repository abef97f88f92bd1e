from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.evaluation.retrieval import Retrieval, retrieval_metrics


def on_circle(*degrees: float) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def corners(seed: int, count: int) -> np.ndarray:
    """[count, 4] vectors of +-0.5: unit length, exact in float, with many ties."""
    return np.random.default_rng(seed).choice([-0.5, 0.5], size=(count, 4))


def slow_retrieval(
    queries: np.ndarray,
    candidates: np.ndarray,
    *,
    groups: tuple[np.ndarray, np.ndarray],
    ids: tuple[np.ndarray, np.ndarray],
    k: int,
) -> list[tuple[bool, float, float]]:
    """For each query: whether it is measured, recall@k, average precision at R."""
    found = []
    for vector, group, id_ in zip(queries, groups[0], ids[0]):
        others = [row for row in range(len(candidates)) if ids[1][row] != id_]
        # Python's sort is stable: equal distances stay in the order of rows.
        others.sort(key=lambda row: round(np.sum((candidates[row] - vector) ** 2), 9))
        right = [groups[1][row] == group for row in others]
        total = sum(right)
        if not total:
            found.append((False, 0.0, 0.0))
            continue
        hits = [sum(right[: i + 1]) / (i + 1) for i in range(total) if right[i]]
        found.append((True, float(any(right[:k])), sum(hits) / total))
    return found


def assert_same(result: Retrieval, slow: list[tuple[bool, float, float]], k: int):
    kept = [entry for entry in slow if entry[0]]
    np.testing.assert_array_equal(result.kept, [entry[0] for entry in slow])
    np.testing.assert_allclose(result.recall_at[k], [entry[1] for entry in kept])
    np.testing.assert_allclose(result.map_at_r, [entry[2] for entry in kept])


def test_measures_of_five_products_by_hand() -> None:
    # Around the circle: a 0, b 10, a 25, b 45, c 180 degrees.
    embeddings = on_circle(0, 10, 25, 45, 180)
    groups, ids = list("ababc"), list("12345")
    result = retrieval_metrics(
        embeddings,
        embeddings,
        groups,
        groups,
        ks=(1, 2, 3),
        query_ids=ids,
        candidate_ids=ids,
    )
    np.testing.assert_array_equal(result.kept, [True, True, True, True, False])
    assert result.left_out == 1
    assert len(result) == 4
    np.testing.assert_array_equal(result.query_groups, ["a", "b", "a", "b"])
    # a0 sees b10, a25; b10 sees a0, a25, b45; a25 sees b10, b45, a0; b45 sees a25, b10.
    np.testing.assert_array_equal(result.recall_at[1], [0, 0, 0, 0])
    np.testing.assert_array_equal(result.recall_at[2], [1, 0, 0, 1])
    np.testing.assert_array_equal(result.recall_at[3], [1, 1, 1, 1])
    # R is 1 for all of them, so only a right first neighbour would count.
    np.testing.assert_array_equal(result.map_at_r, [0, 0, 0, 0])


def test_map_at_r_by_hand() -> None:
    # Ranked right, wrong, right, right and R = 3: (1/1 + 2/3) / 3; the fourth is late.
    result = retrieval_metrics(
        on_circle(0), on_circle(1, 2, 3, 4), ["a"], ["a", "b", "a", "a"]
    )
    np.testing.assert_allclose(result.map_at_r, [(1 + 2 / 3) / 3])


def test_query_itself_is_no_answer() -> None:
    embeddings = on_circle(0, 90)
    ids = ["x", "y"]
    found = retrieval_metrics(
        embeddings,
        embeddings,
        ["a", "b"],
        ["a", "b"],
        query_ids=ids,
        candidate_ids=ids,
    )
    assert found.left_out == 2
    assert len(found) == 0


def test_without_ids_every_candidate_is_an_answer() -> None:
    embeddings = on_circle(0, 90)
    found = retrieval_metrics(embeddings, embeddings, ["a", "b"], ["a", "b"])
    np.testing.assert_array_equal(found.map_at_r, [1, 1])


@pytest.mark.parametrize("block", [1, 2, 1024])
def test_equal_distances_are_ranked_by_candidate_row(block: int) -> None:
    candidates = on_circle(30, 30, 30, 30)
    for right_row, recall_at_2 in enumerate([1, 1, 0, 0]):
        groups = ["b"] * 4
        groups[right_row] = "a"
        found = retrieval_metrics(
            on_circle(30), candidates, ["a"], groups, ks=(2,), block=block
        )
        assert found.recall_at[2] == recall_at_2


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("block", [1, 7, 16, 1024])
def test_blocks_equal_the_slow_oracle_with_ties(seed: int, block: int) -> None:
    candidates = corners(seed, 40)
    queries = candidates[5:25]
    generator = np.random.default_rng(seed + 100)
    candidate_groups = generator.integers(15, size=40)
    candidate_ids = np.array([f"p{row}" for row in range(40)])
    groups = (candidate_groups[5:25], candidate_groups)
    ids = (candidate_ids[5:25], candidate_ids)
    result = retrieval_metrics(
        queries,
        candidates,
        *groups,
        ks=(3,),
        query_ids=ids[0],
        candidate_ids=ids[1],
        block=block,
    )
    slow = slow_retrieval(queries, candidates, groups=groups, ids=ids, k=3)
    assert_same(result, slow, 3)


def test_k_beyond_the_candidates_looks_at_all_of_them() -> None:
    found = retrieval_metrics(
        on_circle(0), on_circle(10, 20), ["a"], ["b", "a"], ks=(1, 50)
    )
    assert found.recall_at[1] == 0
    assert found.recall_at[50] == 1


def test_no_candidates_leave_every_query_out() -> None:
    found = retrieval_metrics(on_circle(0, 1), np.zeros((0, 2)), ["a", "b"], [])
    assert found.left_out == 2


def test_arguments_are_checked() -> None:
    one, two = on_circle(0), on_circle(0, 1)
    with pytest.raises(ValueError, match="given both, or neither"):
        retrieval_metrics(one, two, ["a"], ["a", "b"], query_ids=["x"])
    with pytest.raises(ValueError, match=r"from 1 up, got \(0,\)"):
        retrieval_metrics(one, two, ["a"], ["a", "b"], ks=(0,))
    with pytest.raises(ValueError, match="block must be at least 1, got 0"):
        retrieval_metrics(one, two, ["a"], ["a", "b"], block=0)
    with pytest.raises(ValueError, match="unit length, got a length of 2"):
        retrieval_metrics(2 * one, two, ["a"], ["a", "b"])
    with pytest.raises(ValueError, match=r"candidate_embeddings .* got shape \(2, 2\)"):
        retrieval_metrics(one, two, ["a"], ["a"])
    with pytest.raises(ValueError, match="one width, got 2 and 3"):
        retrieval_metrics(one, np.eye(3), ["a"], ["a", "b", "c"])
    with pytest.raises(ValueError, match="groups must be one-dimensional"):
        retrieval_metrics(one, two, [["a"]], ["a", "b"])


def test_vectors_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="got a length of nan"):
        retrieval_metrics(np.full((1, 2), np.nan), on_circle(0), ["a"], ["a"])


def test_more_rows_than_a_rank_can_hold_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("simprod_tf.evaluation.retrieval._ROW_MASK", np.uint64(1))
    with pytest.raises(ValueError, match="at most 1 rows, got 2; take a sample"):
        retrieval_metrics(on_circle(0), on_circle(0, 1), ["a"], ["a", "b"])
