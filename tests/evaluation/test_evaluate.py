from __future__ import annotations

import json
import math

import numpy as np
import pytest

from simprod_tf.evaluation.evaluate import (
    Evaluation,
    evaluate_model,
    metric_difference,
)
from simprod_tf.evaluation.metrics import pr_auc
from simprod_tf.evaluation.retrieval import Retrieval

LABELS = [1, 1, 0, 0]
GROUPS = ["a", "b", "a", "c"]


def three_queries(*precisions: float) -> Retrieval:
    return Retrieval(
        kept=np.array([True, True, True, False]),
        query_groups=np.array(["a", "a", "b"]),
        recall_at={1: np.array([1.0, 0.0, 1.0])},
        map_at_r=np.array(precisions),
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
            "precision": 1 / 2,
            "recall": 1 / 2,
            "recall_at_1": 2 / 3,
            "map_at_r": 0.5,
        }
    )


def test_pairs_alone_have_no_search_and_no_threshold_metrics() -> None:
    assert list(evaluated().metrics) == ["pr_auc", "roc_auc"]


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
    assert content["metrics"] == {"pr_auc": nothing, "roc_auc": nothing}
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
    with pytest.raises(ValueError, match="no metric 'f1'; it has pr_auc, roc_auc"):
        metric_difference(evaluated(), evaluated(), metric="f1", seed=0)


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
