from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, ndcg_score

from simprod_tf.evaluation.ranking import (
    first_ranks,
    ranked_measures,
    reciprocal_ranks,
)


def test_every_measure_of_one_ranking_by_hand() -> None:
    # Wrong, right, right, wrong; a third right one is not among the first four.
    right = np.array([[False, True, True, False]])
    found = ranked_measures(right, np.array([3]), ks=(1, 2, 4))
    ideal = 1 + 1 / np.log2(3)
    assert {name: values[0] for name, values in found.items()} == pytest.approx(
        {
            "recall_at_1": 0,
            "recall_at_2": 1,
            "recall_at_4": 1,
            "share_found_at_2": 1 / 3,
            "share_found_at_4": 2 / 3,
            "precision_at_2": 1 / 2,
            "precision_at_4": 2 / 4,
            "ndcg_at_2": (1 / np.log2(3)) / ideal,
            "ndcg_at_4": (1 / np.log2(3) + 1 / 2) / (ideal + 1 / 2),
            "map_at_r": (1 / 2 + 2 / 3) / 3,
            "r_precision": 2 / 3,
        }
    )
    assert first_ranks(right).tolist() == [2]
    assert reciprocal_ranks(first_ranks(right)).tolist() == [0.5]


@pytest.mark.parametrize("seed", range(5))
def test_measures_equal_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    right = generator.random((8, 20)) < 0.3
    right[:, 0] |= ~right.any(axis=1)
    num_right = right.sum(axis=1)
    found = ranked_measures(right, num_right, ks=(5, 20))
    scores = -np.arange(20.0)
    for row, truth in enumerate(right):
        for k in (5, 20):
            expected = ndcg_score([truth.astype(int)], [scores], k=k)
            assert found[f"ndcg_at_{k}"][row] == pytest.approx(expected)
        assert found["share_found_at_20"][row] == 1
        total = num_right[row]
        cut = truth & (np.arange(20) < total)
        # scikit-learn divides by the right ones that it sees, MAP@R by all.
        seen = average_precision_score(cut, scores) if cut.any() else 0.0
        assert found["map_at_r"][row] == pytest.approx(seen * cut.sum() / total)
        assert found["r_precision"][row] == pytest.approx(cut.sum() / total)


def test_precision_is_of_k_even_where_there_are_fewer_candidates() -> None:
    found = ranked_measures(np.array([[True, True]]), np.array([2]), ks=(10,))
    assert found["precision_at_10"].tolist() == [0.2]
    assert found["ndcg_at_10"].tolist() == [1.0]


def test_nothing_right_has_rank_zero_and_reciprocal_zero() -> None:
    assert first_ranks(np.zeros((2, 3), bool)).tolist() == [0, 0]
    assert first_ranks(np.zeros((2, 0), bool)).tolist() == [0, 0]
    assert reciprocal_ranks(np.array([0, 4])).tolist() == [0, 0.25]
