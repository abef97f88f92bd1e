from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simprod_tf.evaluation.interval import (
    bootstrap_draws,
    bootstrap_interval,
    percentile_intervals,
)
from simprod_tf.evaluation.metrics import (
    best_f1,
    pr_auc,
    precision_recall_at,
    recall_at_precision,
    roc_auc,
)
from simprod_tf.evaluation.pair_section import PairRows, pair_section
from simprod_tf.evaluation.probability_metrics import brier
from simprod_tf.evaluation.reliability import expected_calibration_error


def drawn(seed: int, size: int = 40) -> PairRows:
    """Pairs with many ties, in 10 clusters, with a threshold and probabilities."""
    generator = np.random.default_rng(seed)
    distances = generator.integers(9, size=size) / 4
    return PairRows(
        generator.integers(2, size=size),
        distances,
        generator.integers(10, size=size),
        max_distance=1.0,
        probabilities=np.round(1 - distances / 3, 2),
    )


def one_by_one(pairs: PairRows) -> dict[str, float]:
    labels, distances = pairs.labels, pairs.distances
    at = precision_recall_at(labels, distances, max_distance=pairs.max_distance)
    return {
        "pr_auc": pr_auc(labels, distances),
        "roc_auc": roc_auc(labels, distances),
        "best_f1": best_f1(labels, distances),
        "recall_at_precision_95": recall_at_precision(
            labels, distances, precision=0.95
        ),
        "recall_at_precision_99": recall_at_precision(
            labels, distances, precision=0.99
        ),
        "precision": at.precision,
        "recall": at.recall,
        "f1": at.f1,
        "brier": brier(pairs.probabilities, labels),
        "expected_calibration_error": expected_calibration_error(
            pairs.probabilities, labels
        ),
    }


@settings(max_examples=40)
@given(seed=st.integers(0, 50), counts=st.lists(st.integers(0, 4), min_size=10))
def test_a_resample_has_the_measures_of_its_pairs_repeated(
    seed: int, counts: list[int]
) -> None:
    pairs = drawn(seed)
    section = pair_section(pairs)
    names, numbers = section.names, section.numbers
    counted = np.array(counts[: section.num_clusters], float)
    repeated = pairs.take(
        np.repeat(np.arange(len(pairs)), counted[numbers].astype(int))
    )
    if not len(repeated):
        return
    found = dict(zip(names, section.statistic(counted[None])[0]))
    assert found == pytest.approx(one_by_one(repeated), nan_ok=True)


def test_intervals_equal_the_slow_bootstrap() -> None:
    pairs = drawn(3)
    section = pair_section(pairs)
    draws = bootstrap_draws(
        section.statistic, section.num_clusters, num_rows=40, seed=4, repeats=100
    )
    intervals = dict(zip(section.names, percentile_intervals(section.values(), draws)))
    for name in ("pr_auc", "f1", "expected_calibration_error"):
        slow = bootstrap_interval(
            lambda rows, name=name: one_by_one(pairs.take(rows))[name],
            pairs.groups,
            seed=4,
            repeats=100,
        )
        assert intervals[name].value == pytest.approx(slow.value)
        assert intervals[name].low == pytest.approx(slow.low)
        assert intervals[name].high == pytest.approx(slow.high)


def test_a_threshold_below_all_pairs_accepts_none() -> None:
    pairs = PairRows(np.array([1, 0]), np.array([0.5, 0.6]), np.array([0, 1]), 0.1)
    section = pair_section(pairs)
    found = dict(zip(section.names, section.values()))
    assert np.isnan(found["precision"])
    assert (found["recall"], found["f1"]) == (0, 0)


def test_no_pairs_have_no_measures() -> None:
    assert pair_section(PairRows(np.empty(0), np.empty(0), np.empty(0))).names == ()


def test_columns_are_checked() -> None:
    one = np.array([1])
    with pytest.raises(ValueError, match=r"got shape \(2,\) for 1 pairs"):
        PairRows(one, np.array([0.5]), np.array([0, 1]))
    with pytest.raises(ValueError, match="lie between 0 and 1"):
        PairRows(one, np.array([0.5]), one, None, np.array([2.0]))
