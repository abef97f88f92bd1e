"""What `benchmarks/record.py` makes of a stage's answers."""

from __future__ import annotations

import numpy as np
import pytest
from record_groups import best_group_distance, group_columns, groups_of
from record_pairs import _match_table
from record_results import GROUPS, QUERIES, Result, best_cut, pair_result
from sklearn.metrics import average_precision_score, f1_score

LABELS = np.array([1, 1, 0, 1, 0, 0])
DISTANCES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
LEFT = np.array([0, 0, 1, 1, 2, 2])


def judged(max_distance: float, distances: np.ndarray = DISTANCES) -> Result:
    """Returns six pairs of three left records."""
    return pair_result(
        LABELS,
        distances,
        max_distance=max_distance,
        clusters=LEFT,
        settings="worked by hand",
        seconds={"fit": 1.5},
    )


def test_pairs_are_measured_at_the_given_cut():
    found = judged(0.3).intervals()
    # Accepted: three, two of them similar; of three similar pairs two are found.
    assert found["precision"].value == pytest.approx(2 / 3)
    assert found["recall"].value == pytest.approx(2 / 3)
    assert found["f1"].value == pytest.approx(f1_score(LABELS, DISTANCES <= 0.3))
    oracle = average_precision_score(LABELS, -DISTANCES)
    assert found["pr_auc"].value == pytest.approx(oracle)
    assert found["f1"].low <= found["f1"].value <= found["f1"].high


def test_the_best_cut_lies_between_the_distances_around_it():
    # Up to .4 three of four are similar and none is left out: F1 6/7, the best.
    assert best_cut(LABELS, DISTANCES) == pytest.approx(0.45)


def test_a_result_is_the_same_after_saving(tmp_path):
    result = judged(0.3)
    result.save(tmp_path / "result.npz")
    loaded = Result.load(tmp_path / "result.npz")
    assert loaded.intervals() == result.intervals()
    assert (loaded.kind, loaded.settings) == (result.kind, "worked by hand")
    assert loaded.seconds == {"fit": 1.5}


def test_a_gain_is_the_difference_on_the_same_rows():
    better = judged(0.45)
    gains = better.gains(judged(0.3))
    assert gains["f1"].value == pytest.approx(6 / 7 - 2 / 3)
    assert gains["pr_auc"].value == 0.0


def test_other_rows_have_no_gain():
    queries = Result(QUERIES, LEFT, {"recall_at_1": np.ones(6)}, "", {})
    assert judged(0.3).gains(queries) == {}
    fewer = pair_result(
        LABELS[:4],
        DISTANCES[:4],
        max_distance=0.3,
        clusters=LEFT[:4],
        settings="",
        seconds={},
    )
    assert judged(0.3).gains(fewer) == {}


def test_groups_are_measured_product_by_product():
    # Found: a, b and c together; d alone. True: a, b; c, d.
    columns = group_columns(
        np.array(["a", "b", "c", "d"]),
        np.array(["g", "g", "h", "h"]),
        {"a": "1", "b": "1", "c": "1"},
    )
    assert columns["b_cubed_precision"] == pytest.approx([2 / 3, 2 / 3, 1 / 3, 1])
    assert columns["b_cubed_recall"] == pytest.approx([1, 1, 1 / 2, 1 / 2])
    assert columns["row_f1"] == pytest.approx([4 / 5, 4 / 5, 2 / 5, 2 / 3])
    found = Result(GROUPS, np.array([0, 0, 1, 1]), columns, "", {}).intervals()
    assert found["row_f1"].value == pytest.approx((4 / 5 + 4 / 5 + 2 / 5 + 2 / 3) / 4)
    # The harmonic mean of 2/3 and 3/4.
    assert found["b_cubed_f1"].value == pytest.approx(12 / 17)


def test_the_chosen_distance_parts_what_is_not_the_same():
    ids = np.array(["a", "b", "c", "d"])
    rows = np.array([[0, 1], [2, 3], [1, 2]])
    matches = _match_table(ids, rows, np.array([0.2, 0.3, 0.9]))
    truth = np.array(["g", "g", "h", "h"])
    cut = best_group_distance(matches, ids, truth, missing_distance=0.9)
    assert 0.3 <= cut < 0.9
    found = groups_of(matches, max_distance=cut, missing_distance=0.9)
    assert found["a"] == found["b"] != found["c"] == found["d"]


def test_no_match_makes_no_group():
    none = _match_table(np.array(["a"]), np.zeros((0, 2), int), np.zeros(0))
    assert groups_of(none, max_distance=1.0, missing_distance=1.0) == {}
