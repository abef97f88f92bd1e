"""One model's measures on one test set, and the comparison of two models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from simprod_tf.evaluation.group_metrics import GroupRows, group_section
from simprod_tf.evaluation.interval import Interval, cluster_numbers
from simprod_tf.evaluation.metrics import PrecisionRecallCurve, precision_recall_curve
from simprod_tf.evaluation.pair_section import PairRows, pair_section
from simprod_tf.evaluation.retrieval import Retrieval
from simprod_tf.evaluation.section import (
    Section,
    mean_section,
    section_differences,
    section_intervals,
)
from simprod_tf.evaluation.slices import SliceRow

LOWER_IS_BETTER = frozenset({"brier", "expected_calibration_error"})


def _no_ids() -> np.ndarray:
    return np.empty((0, 2), object)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was found of a model; higher is better but in `LOWER_IS_BETTER`.

    Args:
        name: the model, as the report shows it.
        metrics: by name, in the report's order: those of `pair_section` if there are
            pairs, the means of `Retrieval.measures` if there is a `retrieval`, those
            of `group_section` if there are `groups`.
        curve: precision and recall over all thresholds.
        pair_distances: [N] float64.
        pair_labels: [N] int64, 1 = similar.
        pair_groups: [N], the clusters that the intervals resample.
        retrieval: per-query measures, or None if no search was judged.
        max_distance: the model's own threshold, or None if it has none yet.
        pair_ids: [N, 2] the two products of each pair; [0, 2] if nobody said.
        pair_probabilities: [N] float64, how probably each pair is similar, or None.
        groups: what found and true groups share, or None if no groups were judged.
        slices: the metrics of parts of the rows.
    """

    name: str
    metrics: Mapping[str, Interval]
    curve: PrecisionRecallCurve
    pair_distances: np.ndarray
    pair_labels: np.ndarray
    pair_groups: np.ndarray
    retrieval: Retrieval | None
    max_distance: float | None
    pair_ids: np.ndarray = field(default_factory=_no_ids)
    pair_probabilities: np.ndarray | None = None
    groups: GroupRows | None = None
    slices: tuple[SliceRow, ...] = ()

    @property
    def pairs(self) -> PairRows:
        """The labelled pairs as the model sees them; there may be none."""
        return PairRows(
            self.pair_labels,
            self.pair_distances,
            self.pair_groups,
            self.max_distance,
            self.pair_probabilities,
        )

    def to_json(self) -> dict[str, Any]:
        """Returns metrics, counts and curve as JSON can hold them; None for NaN."""
        found = self.retrieval
        return {
            "name": self.name,
            "metrics": metrics_json(self.metrics),
            "max_distance": self.max_distance,
            "pairs": len(self.pair_labels),
            "similar_pairs": int(self.pair_labels.sum()),
            "queries": None if found is None else len(found),
            "queries_left_out": None if found is None else found.left_out,
            "products": None if self.groups is None else len(self.groups),
            "slices": [
                {
                    "column": one.column,
                    "value": one.value,
                    "kind": one.kind,
                    "n": one.n,
                    "few": one.few,
                    "metrics": metrics_json(one.metrics),
                }
                for one in self.slices
            ],
            "curve": {
                "max_distance": [_number(x) for x in self.curve.max_distance],
                "precision": [_number(x) for x in self.curve.precision],
                "recall": [_number(x) for x in self.curve.recall],
            },
        }


def metrics_json(metrics: Mapping[str, Interval]) -> dict[str, Any]:
    """Returns intervals as JSON can hold them; None for NaN."""
    return {name: interval_json(interval) for name, interval in metrics.items()}


def interval_json(interval: Interval) -> dict[str, float | None]:
    """Returns `value`, `low` and `high`; None for NaN."""
    return {
        "value": _number(interval.value),
        "low": _number(interval.low),
        "high": _number(interval.high),
    }


def evaluate_model(
    name: str,
    *,
    pair_distances: npt.ArrayLike,
    pair_labels: npt.ArrayLike,
    pair_groups: npt.ArrayLike,
    retrieval: Retrieval | None,
    seed: int,
    max_distance: float | None = None,
    pair_ids: np.ndarray | None = None,
    pair_probabilities: np.ndarray | None = None,
    groups: GroupRows | None = None,
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
        pair_ids: [N, 2] the two products of each pair, where they are to be kept.
        pair_probabilities: [N] float, of similarity, by a calibration made on other
            pairs, or None if there is none.
        groups: found groups beside true ones, or None if there are none.
    """
    pairs = PairRows(
        np.asarray(pair_labels, dtype=np.int64),
        np.asarray(pair_distances, dtype=np.float64),
        np.asarray(pair_groups),
        max_distance,
        pair_probabilities,
    )
    metrics: dict[str, Interval] = {}
    for section in _sections(pairs, retrieval, groups):
        metrics.update(section_intervals(section, seed=seed))
    return Evaluation(
        name=name,
        metrics=metrics,
        curve=precision_recall_curve(pairs.labels, pairs.distances),
        pair_distances=pairs.distances,
        pair_labels=pairs.labels,
        pair_groups=pairs.groups,
        retrieval=retrieval,
        max_distance=max_distance,
        pair_ids=_no_ids() if pair_ids is None else pair_ids,
        pair_probabilities=pair_probabilities,
        groups=groups,
    )


def evaluate_groups(name: str, groups: GroupRows, *, seed: int) -> Evaluation:
    """Returns the evaluation of groups alone, without pairs or searches."""
    return evaluate_model(
        name,
        pair_distances=[],
        pair_labels=[],
        pair_groups=[],
        retrieval=None,
        groups=groups,
        seed=seed,
    )


def metric_difference(
    first: Evaluation, second: Evaluation, *, metric: str, seed: int
) -> Interval:
    """Returns the 95% interval of first's metric minus second's, resampled together.

    Both must come from the same test set, its rows in the same order.
    """
    for one in (first, second):
        if metric not in one.metrics:
            raise ValueError(
                f"{one.name} has no metric {metric!r}; it has {', '.join(one.metrics)}."
            )
    return metric_differences(first, second, seed=seed)[metric]


def metric_differences(
    first: Evaluation, second: Evaluation, *, seed: int
) -> dict[str, Interval]:
    """Returns the 95% interval of first minus second, of each metric both have.

    Both must come from the same test set, its rows in the same order. Pairs, queries
    and groups are drawn apart, each for both models alike.
    """
    differences: dict[str, Interval] = {}
    others = _by_kind(second)
    for kind, ours in _by_kind(first).items():
        theirs = others.get(kind)
        if theirs is None:
            continue
        same = np.array_equal(ours.numbers, theirs.numbers)
        if kind == "pairs":
            same = same and np.array_equal(first.pair_labels, second.pair_labels)
        if not same:
            raise ValueError(
                f"{first.name} and {second.name} were not evaluated on the same rows; "
                "evaluate both on one test set."
            )
        differences.update(section_differences(ours, theirs, seed=seed))
    return differences


def retrieval_section(retrieval: Retrieval) -> Section:
    """Returns the means of the queries' measures, resampled by the queries' groups."""
    return mean_section(
        dict(retrieval.measures), cluster_numbers(retrieval.query_groups)
    )


def _by_kind(evaluation: Evaluation) -> dict[str, Section]:
    found: dict[str, Section] = {}
    if len(evaluation.pair_labels):
        found["pairs"] = pair_section(evaluation.pairs)
    if evaluation.retrieval is not None:
        found["queries"] = retrieval_section(evaluation.retrieval)
    if evaluation.groups is not None:
        found["products"] = group_section(evaluation.groups)
    return found


def _sections(
    pairs: PairRows, retrieval: Retrieval | None, groups: GroupRows | None
) -> list[Section]:
    sections = [pair_section(pairs)]
    if retrieval is not None:
        sections.append(retrieval_section(retrieval))
    if groups is not None:
        sections.append(group_section(groups))
    return sections


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
