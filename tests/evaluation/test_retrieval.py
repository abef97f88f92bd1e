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
) -> list[dict[str, float]]:
    """For each query its measures; none where there is no right answer."""
    found: list[dict[str, float]] = []
    for vector, group, id_ in zip(queries, groups[0], ids[0]):
        others = [row for row in range(len(candidates)) if ids[1][row] != id_]
        # Python's sort is stable: equal distances stay in the order of rows.
        others.sort(key=lambda row: round(np.sum((candidates[row] - vector) ** 2), 9))
        right = [bool(groups[1][row] == group) for row in others]
        total = sum(right)
        if not total:
            found.append({})
            continue
        hits = [sum(right[: i + 1]) / (i + 1) for i in range(total) if right[i]]
        gains = [1 / np.log2(i + 2) for i in range(k)]
        found.append(
            {
                f"recall_at_{k}": float(any(right[:k])),
                f"share_found_at_{k}": sum(right[:k]) / total,
                f"precision_at_{k}": sum(right[:k]) / k,
                f"ndcg_at_{k}": sum(g for g, r in zip(gains, right) if r)
                / sum(gains[:total]),
                "map_at_r": sum(hits) / total,
                "r_precision": sum(right[:total]) / total,
                "mrr": 1 / (right.index(True) + 1),
            }
        )
    return found


def assert_same(result: Retrieval, slow: list[dict[str, float]]) -> None:
    kept = [entry for entry in slow if entry]
    np.testing.assert_array_equal(result.kept, [bool(entry) for entry in slow])
    assert list(result.measures) == list(kept[0])
    for name, values in result.measures.items():
        np.testing.assert_allclose(values, [entry[name] for entry in kept])


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
    assert_same(result, slow)


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
    with pytest.raises(ValueError, match="unit length, or zero, got a length of 2"):
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


def test_right_answers_far_down_have_their_rank_and_the_curve_shows_it() -> None:
    # Of 30 candidates the query's fellows are the 20th and the 25th.
    candidates = on_circle(*range(1, 31))
    groups = ["a" if n in (20, 25) else "b" for n in range(1, 31)]
    found = retrieval_metrics(on_circle(0), candidates, ["a"], groups, ks=(1, 5))
    assert found.first_ranks.tolist() == [20]
    assert found.measures["mrr"].tolist() == [1 / 20]
    curve = found.recall_curve(30)
    assert curve.tolist() == [0.0] * 19 + [1.0] * 11
    assert found.recall_curve(3).tolist() == [0, 0, 0]


def test_what_nothing_is_known_of_finds_nothing_and_is_found_by_nobody() -> None:
    embeddings = on_circle(0, 10, 20, 0)
    embeddings[3] = 0
    ids, groups = list("1234"), ["a", "b", "a", "a"]
    found = retrieval_metrics(
        embeddings, embeddings, groups, groups, query_ids=ids, candidate_ids=ids
    )
    # Still a right answer of the others: they have two, and find one.
    assert found.query_ids.tolist() == ["1", "3", "4"]
    assert found.measures["share_found_at_10"].tolist() == [0.5, 0.5, 0]
    assert found.first_ranks.tolist() == [2, 2, 0]
    assert found.measures["mrr"].tolist() == [0.5, 0.5, 0]
    nobody = retrieval_metrics(embeddings[3:], embeddings[3:], ["a"], ["a"])
    assert nobody.map_at_r.tolist() == [0]


def test_groups_of_all_sizes_are_ranked_as_deep_as_each_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("simprod_tf.evaluation.retrieval._BLOCK_RANKED", 50)
    candidates = corners(9, 60)
    groups = np.repeat([0, 1, 2, 3], [40, 12, 5, 3])
    ids = np.arange(60)
    result = retrieval_metrics(
        candidates,
        candidates,
        groups,
        groups,
        ks=(4,),
        query_ids=ids,
        candidate_ids=ids,
    )
    both = (groups, groups), (ids, ids)
    slow = slow_retrieval(candidates, candidates, groups=both[0], ids=both[1], k=4)
    assert_same(result, slow)


def test_measured_queries_can_be_taken_apart() -> None:
    embeddings = on_circle(0, 10, 25, 45, 180)
    ids, groups = list("12345"), list("cabab")
    whole = retrieval_metrics(
        embeddings, embeddings, groups, groups, query_ids=ids, candidate_ids=ids
    )
    assert whole.query_ids.tolist() == list("2345")
    some = whole.take(np.array([1, 3]))
    assert some.kept.tolist() == [False, False, True, False, True]
    assert some.query_ids.tolist() == ["3", "5"]
    assert some.map_at_r.tolist() == whole.map_at_r[[1, 3]].tolist()
    assert len(some) == 2
