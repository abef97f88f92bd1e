"""One model's measures on one test set, and the comparison of two models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from simprod_tf.evaluation.interval import (
    Interval,
    Statistic,
    bootstrap_interval,
    mean_of,
    paired_difference,
)
from simprod_tf.evaluation.metrics import (
    PrecisionRecallCurve,
    pr_auc,
    precision_recall_at,
    precision_recall_curve,
    roc_auc,
)
from simprod_tf.evaluation.retrieval import Retrieval


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate_model` found; higher is better in every metric.

    Args:
        name: the model, as the report shows it.
        metrics: by name, in the report's order: `pr_auc`, `roc_auc`; `precision` and
            `recall` if there is a `max_distance`, all of these if there are pairs;
            `recall_at_<k>` and `map_at_r` if there is a `retrieval`.
        curve: precision and recall over all thresholds.
        pair_distances: [N] float64.
        pair_labels: [N] int64, 1 = similar.
        pair_groups: [N], the clusters that the intervals resample.
        retrieval: per-query measures, or None if only pairs were judged.
        max_distance: the model's own threshold, or None if it has none yet.
    """

    name: str
    metrics: Mapping[str, Interval]
    curve: PrecisionRecallCurve
    pair_distances: np.ndarray
    pair_labels: np.ndarray
    pair_groups: np.ndarray
    retrieval: Retrieval | None
    max_distance: float | None

    def to_json(self) -> dict[str, Any]:
        """Returns metrics, counts and curve as JSON can hold them; None for NaN."""
        return {
            "name": self.name,
            "metrics": {
                name: {
                    "value": _number(interval.value),
                    "low": _number(interval.low),
                    "high": _number(interval.high),
                }
                for name, interval in self.metrics.items()
            },
            "max_distance": self.max_distance,
            "pairs": len(self.pair_labels),
            "similar_pairs": int(self.pair_labels.sum()),
            "queries": None if self.retrieval is None else len(self.retrieval),
            "queries_left_out": (
                None if self.retrieval is None else self.retrieval.left_out
            ),
            "curve": {
                "max_distance": [_number(x) for x in self.curve.max_distance],
                "precision": [_number(x) for x in self.curve.precision],
                "recall": [_number(x) for x in self.curve.recall],
            },
        }


@dataclass(frozen=True, eq=False)
class _Measure:
    """A statistic, and the clusters [N] of the rows that it is a statistic of."""

    statistic: Statistic
    groups: np.ndarray


def evaluate_model(
    name: str,
    *,
    pair_distances: npt.ArrayLike,
    pair_labels: npt.ArrayLike,
    pair_groups: npt.ArrayLike,
    retrieval: Retrieval | None,
    seed: int,
    max_distance: float | None = None,
) -> Evaluation:
    """Returns one model's metrics on one test set, each with a 95% interval.

    Args:
        name: the model, as the report shows it.
        pair_distances: [N] float, the model's distance of each test pair.
        pair_labels: [N] int, 1 = similar, 0 = not.
        pair_groups: [N] strings or numbers, the cluster of each pair: its anchor's
            group, so that the pairs of one product are drawn together.
        retrieval: the model's search results, or None if only pairs are judged.
        seed: of the resampling; models to be compared get the same one.
        max_distance: the model's threshold, chosen on other data than these pairs.
    """
    distances = np.asarray(pair_distances, dtype=np.float64)
    labels = np.asarray(pair_labels, dtype=np.int64)
    groups = np.asarray(pair_groups)
    if groups.shape != distances.shape:
        raise ValueError(
            "pair_groups must give one group a pair, got shape "
            f"{groups.shape} for {len(distances)} pairs."
        )
    curve = precision_recall_curve(labels, distances)
    measures = {
        **_pair_measures(labels, distances, groups=groups, max_distance=max_distance),
        **_retrieval_measures(retrieval),
    }
    return Evaluation(
        name=name,
        metrics={
            key: bootstrap_interval(measure.statistic, measure.groups, seed=seed)
            for key, measure in measures.items()
        },
        curve=curve,
        pair_distances=distances,
        pair_labels=labels,
        pair_groups=groups,
        retrieval=retrieval,
        max_distance=max_distance,
    )


def metric_difference(
    first: Evaluation, second: Evaluation, *, metric: str, seed: int
) -> Interval:
    """Returns the 95% interval of first's metric minus second's, resampled together.

    Both must come from the same test set, its rows in the same order.
    """
    ours, theirs = _measure(first, metric), _measure(second, metric)
    same_rows = np.array_equal(ours.groups, theirs.groups) and np.array_equal(
        first.pair_labels, second.pair_labels
    )
    if not same_rows:
        raise ValueError(
            f"{first.name} and {second.name} were not evaluated on the same rows; "
            "evaluate both on one test set."
        )
    return paired_difference(
        ours.statistic, theirs.statistic, groups=ours.groups, seed=seed
    )


def _measure(evaluation: Evaluation, metric: str) -> _Measure:
    measures = {
        **_pair_measures(
            evaluation.pair_labels,
            evaluation.pair_distances,
            groups=evaluation.pair_groups,
            max_distance=evaluation.max_distance,
        ),
        **_retrieval_measures(evaluation.retrieval),
    }
    if metric not in measures:
        raise ValueError(
            f"{evaluation.name} has no metric {metric!r}; it has {', '.join(measures)}."
        )
    return measures[metric]


def _pair_measures(
    labels: np.ndarray,
    distances: np.ndarray,
    *,
    groups: np.ndarray,
    max_distance: float | None,
) -> dict[str, _Measure]:
    if not len(labels):
        return {}
    statistics: dict[str, Statistic] = {
        "pr_auc": lambda rows: pr_auc(labels[rows], distances[rows]),
        "roc_auc": lambda rows: roc_auc(labels[rows], distances[rows]),
    }
    if max_distance is not None:
        decide = partial(precision_recall_at, max_distance=max_distance)
        statistics["precision"] = lambda rows: (
            decide(labels[rows], distances[rows]).precision
        )
        statistics["recall"] = lambda rows: decide(labels[rows], distances[rows]).recall
    return {key: _Measure(value, groups) for key, value in statistics.items()}


def _retrieval_measures(retrieval: Retrieval | None) -> dict[str, _Measure]:
    if retrieval is None:
        return {}
    values = {f"recall_at_{k}": found for k, found in retrieval.recall_at.items()}
    values["map_at_r"] = retrieval.map_at_r
    return {
        key: _Measure(mean_of(value), retrieval.query_groups)
        for key, value in values.items()
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
