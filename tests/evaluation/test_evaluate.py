from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from simprod_tf.evaluation.evaluate import (
    LOWER_IS_BETTER,
    Evaluation,
    evaluate_groups,
    evaluate_model,
    metric_difference,
    metric_differences,
)
from simprod_tf.evaluation.group_metrics import GROUP_METRICS, group_rows
from simprod_tf.evaluation.interval import Interval
from simprod_tf.evaluation.metrics import pr_auc
from simprod_tf.evaluation.retrieval import Retrieval
from simprod_tf.evaluation.slices import SliceRow

LABELS = [1, 1, 0, 0]
GROUPS = ["a", "b", "a", "c"]


def three_queries(*precisions: float) -> Retrieval:
    return Retrieval(
        kept=np.array([True, True, True, False]),
        query_groups=np.array(["a", "a", "b"]),
        measures={
            "recall_at_1": np.array([1.0, 0.0, 1.0]),
            "map_at_r": np.array(precisions),
        },
        first_ranks=np.array([1, 2, 1]),
    )


def evaluated(
    distances: tuple[float, ...] = (0.1, 0.5, 0.3, 0.9),
    *,
    name: str = "model",
    retrieval: Retrieval | None = None,
    max_distance: float | None = None,
) -> Evaluation:
    return evaluate_model(
        name,
        pair_distances=distances,
        pair_labels=LABELS,
        pair_groups=GROUPS,
        retrieval=retrieval,
        max_distance=max_distance,
        seed=0,
    )


def test_metrics_of_four_pairs_and_three_queries_by_hand() -> None:
    evaluation = evaluated(retrieval=three_queries(1.0, 0.5, 0.0), max_distance=0.4)
    values = {name: interval.value for name, interval in evaluation.metrics.items()}
    assert values == pytest.approx(
        {
            "pr_auc": (1 + 2 / 3) / 2,
            "roc_auc": 3 / 4,
            "best_f1": 4 / 5,
            "recall_at_precision_95": 1 / 2,
            "recall_at_precision_99": 1 / 2,
            "precision": 1 / 2,
            "recall": 1 / 2,
            "f1": 1 / 2,
            "recall_at_1": 2 / 3,
            "map_at_r": 0.5,
        }
    )


def test_pairs_alone_have_no_search_and_no_threshold_metrics() -> None:
    oracles = ["best_f1", "recall_at_precision_95", "recall_at_precision_99"]
    assert list(evaluated().metrics) == ["pr_auc", "roc_auc", *oracles]


def test_json_holds_numbers_counts_and_curve() -> None:
    evaluation = evaluated(retrieval=three_queries(1.0, 0.5, 0.0), max_distance=0.4)
    content = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert content["name"] == "model"
    assert content["metrics"]["roc_auc"]["value"] == pytest.approx(0.75)
    assert content["max_distance"] == 0.4
    assert (content["pairs"], content["similar_pairs"]) == (4, 2)
    assert (content["queries"], content["queries_left_out"]) == (3, 1)
    assert content["curve"]["recall"] == [0.5, 0.5, 1.0, 1.0]


def test_json_says_null_for_what_cannot_be_known() -> None:
    evaluation = evaluate_model(
        "m",
        pair_distances=[0.5],
        pair_labels=[0],
        pair_groups=["a"],
        retrieval=None,
        seed=0,
    )
    content = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    nothing = {"value": None, "low": None, "high": None}
    assert set(content["metrics"]) >= {"pr_auc", "roc_auc", "best_f1"}
    assert all(one == nothing for one in content["metrics"].values())
    assert content["queries"] is None
    assert content["curve"]["recall"] == [None]


def test_difference_of_a_pair_metric_is_the_values_difference() -> None:
    better, worse = (0.1, 0.2, 0.3, 0.9), (0.1, 0.5, 0.3, 0.9)
    difference = metric_difference(
        evaluated(better), evaluated(worse), metric="pr_auc", seed=0
    )
    expected = pr_auc(LABELS, better) - pr_auc(LABELS, worse)
    assert difference.value == pytest.approx(expected)
    assert difference.low <= difference.value <= difference.high


def test_difference_of_a_search_metric_resamples_both_together() -> None:
    first = evaluated(retrieval=three_queries(1.0, 0.6, 0.1))
    second = evaluated(retrieval=three_queries(0.9, 0.5, 0.0))
    difference = metric_difference(first, second, metric="map_at_r", seed=0)
    assert difference.low == pytest.approx(0.1)
    assert difference.high == pytest.approx(0.1)


def test_difference_refuses_other_test_sets_and_unknown_metrics() -> None:
    other = evaluate_model(
        "other",
        pair_distances=[0.1, 0.2],
        pair_labels=[1, 0],
        pair_groups=["a", "b"],
        retrieval=None,
        seed=0,
    )
    with pytest.raises(ValueError, match="model and other were not evaluated on the"):
        metric_difference(evaluated(), other, metric="pr_auc", seed=0)
    with pytest.raises(ValueError, match="no metric 'f2'; it has pr_auc, roc_auc"):
        metric_difference(evaluated(), evaluated(), metric="f2", seed=0)


def test_every_pair_needs_a_group() -> None:
    with pytest.raises(ValueError, match=r"got shape \(1,\) for 4 pairs"):
        evaluate_model(
            "m",
            pair_distances=[0.1, 0.2, 0.3, 0.4],
            pair_labels=LABELS,
            pair_groups=["a"],
            retrieval=None,
            seed=0,
        )


def test_single_group_leaves_the_bounds_open() -> None:
    evaluation = evaluate_model(
        "m",
        pair_distances=[0.1, 0.2],
        pair_labels=[1, 0],
        pair_groups=["a", "a"],
        retrieval=None,
        seed=0,
    )
    assert evaluation.metrics["pr_auc"].value == 1.0
    assert math.isnan(evaluation.metrics["pr_auc"].low)


def test_probabilities_bring_brier_and_calibration_error_where_less_is_better() -> None:
    evaluation = evaluate_model(
        "m",
        pair_distances=[0.1, 0.5, 0.3, 0.9],
        pair_labels=LABELS,
        pair_groups=GROUPS,
        pair_probabilities=np.array([0.9, 0.5, 0.8, 0.0]),
        retrieval=None,
        seed=0,
    )
    # (0.1**2 + 0.5**2 + 0.8**2 + 0) / 4, and the mean of 0.1, 0.5, 0.8 and 0.
    assert evaluation.metrics["brier"].value == pytest.approx(0.225)
    assert evaluation.metrics["expected_calibration_error"].value == pytest.approx(0.35)
    assert set(evaluation.metrics) >= LOWER_IS_BETTER


def test_groups_alone_are_evaluated_and_counted() -> None:
    truth = {"a": 1, "b": 1, "c": 2}
    evaluation = evaluate_groups("g", group_rows({"a": "x", "b": "x"}, truth), seed=0)
    assert tuple(evaluation.metrics) == GROUP_METRICS
    assert evaluation.metrics["row_f1"].value == 1
    content = evaluation.to_json()
    assert (content["pairs"], content["queries"], content["products"]) == (0, None, 3)


def test_all_differences_are_those_one_by_one() -> None:
    first = evaluated((0.1, 0.2, 0.3, 0.9), retrieval=three_queries(1.0, 0.5, 0.0))
    second = evaluated(retrieval=three_queries(0.9, 0.6, 0.0), max_distance=0.4)
    found = metric_differences(first, second, seed=5)
    # The second alone has a threshold.
    assert list(found) == [*first.metrics]
    for metric in ("roc_auc", "map_at_r"):
        one = metric_difference(first, second, metric=metric, seed=5)
        assert found[metric] == one


def test_json_holds_the_slices() -> None:
    row = SliceRow("picture", "with", "pairs", 3, True, {"f1": Interval(0.5, 0.4, 0.6)})
    content = replace(evaluated(), slices=(row,)).to_json()
    assert content["slices"] == [
        {
            "column": "picture", "value": "with", "kind": "pairs", "n": 3, "few": True,
            "metrics": {"f1": {"value": 0.5, "low": 0.4, "high": 0.6}},
        }
    ]  # fmt: skip
