"""What `benchmarks/record.py` makes of a stage's answers."""

from __future__ import annotations

import numpy as np
import pytest
from record_groups import (
    best_group_distance,
    group_columns,
    groups_of,
    in_one_group,
    match_table,
    shares_of_limit,
)
from record_results import (
    GROUPS,
    QUERIES,
    Result,
    best_cut,
    grouped_result,
    pair_result,
)
from sklearn.metrics import average_precision_score, f1_score

from simprod_tf.evaluation.group_metrics import grouped_pair_metrics

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
    matches = match_table(ids, rows, np.array([0.2, 0.3, 0.9]))
    truth = np.array(["g", "g", "h", "h"])
    cut = best_group_distance(matches, ids, truth, missing_distance=0.9)
    assert 0.3 <= cut < 0.9
    found = groups_of(matches, max_distance=cut, missing_distance=0.9)
    assert found["a"] == found["b"] != found["c"] == found["d"]


def test_no_match_makes_no_group():
    none = match_table(np.array(["a"]), np.zeros((0, 2), int), np.zeros(0))
    assert groups_of(none, max_distance=1.0, missing_distance=1.0) == {}


IDS = np.array(["a", "b", "c", "d"])


def test_groups_are_made_of_shares_of_the_limit():
    limit = 0.4
    at, above = np.float32(0.4), np.nextafter(np.float32(0.4), np.float32(1))
    distances = np.array([0.1, 0.2, limit, above, 0.6, 0.99])
    shares = shares_of_limit(distances, limit)
    assert shares.dtype == np.float32
    # A pair at the limit is within it, the next one is not; 2.475 limits count as 2.
    assert shares[[0, 1, 2, 4, 5]] == pytest.approx([0.25, 0.5, 1, 1.5, 2])
    assert shares[2] <= 1 < shares[3]
    # float32's own .4 lies above the limit, by less than it can tell.
    assert shares_of_limit(np.array([at]), limit)[0] > 1


def test_lines_are_the_same_when_both_are_in_one_group():
    # d is close to a, and far from the others that are with a: it stands alone.
    rows = np.array([[0, 1], [1, 2], [0, 2], [0, 3], [1, 3]])
    distances = np.array([0.1, 0.1, 0.5, 0.3, 0.9])
    matches = match_table(IDS, rows, shares_of_limit(distances, 0.4))
    found = groups_of(matches, max_distance=1.0, missing_distance=2.0)
    lines = np.array([[0, 1], [0, 2], [0, 3], [3, 3], [1, 3], [0, 1]])
    together = in_one_group(found, IDS[lines])
    assert together.tolist() == [True, True, False, True, False, True]
    labels = np.array([1, 0, 1, 1, 0, 1])
    judged = grouped_result(
        labels, together, clusters=lines[:, 0], settings="", seconds={}
    )
    intervals = judged.intervals()
    oracle = grouped_pair_metrics(found, IDS[lines].tolist(), labels=labels)
    # Four are together, three of them similar; of four similar ones three are.
    assert intervals["precision"].value == oracle.precision == 3 / 4
    assert intervals["recall"].value == oracle.recall == 3 / 4
    assert intervals["f1"].value == f1_score(labels, together) == 3 / 4


def test_groups_are_compared_with_the_decider_by_f1_alone():
    grouped = grouped_result(
        LABELS,
        np.array([1, 1, 0, 1, 0, 0]),
        clusters=LEFT,
        settings="",
        seconds={},
    )
    assert "pr_auc" not in grouped.intervals()
    gains = grouped.gains(judged(0.3))
    assert list(gains) == ["f1"]
    assert gains["f1"].value == pytest.approx(1 - 2 / 3)


def test_no_line_is_in_no_group():
    assert in_one_group({}, np.zeros((0, 2), str)).shape == (0,)
