from __future__ import annotations

import json
from dataclasses import replace

import pytest

from simprod_tf.errors import SimprodError
from simprod_tf.evaluation.compare import (
    BETTER,
    UNCLEAR,
    WORSE,
    compare_stored,
    verdict,
)
from simprod_tf.evaluation.evaluate import evaluate_model, metric_difference
from simprod_tf.evaluation.interval import Interval
from simprod_tf.evaluation.stored import StoredEvaluation

TEST = {"pairs": "f"}


def stored(name: str, *distances: float, max_distance: float | None = None):
    evaluation = evaluate_model(
        name,
        pair_distances=distances,
        pair_labels=[1, 1, 0, 0],
        pair_groups=["a", "b", "a", "c"],
        retrieval=None,
        max_distance=max_distance,
        seed=0,
    )
    return StoredEvaluation(evaluation, TEST)


def test_differences_are_the_seconds_to_the_first_of_what_both_have() -> None:
    first = stored("a", 0.1, 0.5, 0.3, 0.9, max_distance=0.4)
    second = stored("b", 0.1, 0.2, 0.3, 0.9)
    found = {one.metric: one for one in compare_stored(first, second, seed=2)}
    assert "precision" not in found
    change = found["pr_auc"]
    assert change.first == first.evaluation.metrics["pr_auc"]
    assert change.second == second.evaluation.metrics["pr_auc"]
    assert change.difference == metric_difference(
        second.evaluation, first.evaluation, metric="pr_auc", seed=2
    )
    assert change.difference.value == pytest.approx(1 - 5 / 6)
    content = json.loads(json.dumps(change.to_json(), allow_nan=False))
    assert content["second"]["value"] == 1
    assert content["verdict"] == change.verdict


def test_a_run_is_not_clearly_different_from_itself() -> None:
    one = stored("a", 0.1, 0.5, 0.3, 0.9)
    for change in compare_stored(one, one):
        assert change.difference.value == 0
        assert change.verdict == UNCLEAR


def test_a_verdict_needs_the_whole_interval_and_knows_where_less_is_better() -> None:
    gain, loss = Interval(0.2, 0.1, 0.3), Interval(-0.2, -0.3, -0.1)
    assert verdict(gain, metric="f1") == BETTER
    assert verdict(loss, metric="f1") == WORSE
    assert verdict(gain, metric="brier") == WORSE
    assert verdict(loss, metric="expected_calibration_error") == BETTER
    assert verdict(Interval(0.2, 0.0, 0.3), metric="f1") == UNCLEAR
    assert verdict(Interval(0.2, float("nan"), float("nan")), metric="f1") == UNCLEAR


def test_other_rows_are_refused_with_both_fingerprints_and_the_way_out() -> None:
    first = stored("a", 0.1, 0.5, 0.3, 0.9)
    other = replace(first, test={"pairs": "g"})
    with pytest.raises(
        SimprodError, match=r"other pairs \(fingerprints f and g\); judge both with"
    ):
        compare_stored(first, other)
    searched = replace(first, test={"queries": "f"})
    with pytest.raises(
        SimprodError, match="by pairs and a by queries: nothing can be compared"
    ):
        compare_stored(first, searched)
