"""Evaluations as the report's template takes them: rows, cells and words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simprod_tf.data.leakage import LeakageReport
from simprod_tf.evaluation.evaluate import Evaluation
from simprod_tf.evaluation.figure_canvas import LINES
from simprod_tf.evaluation.interval import Interval
from simprod_tf.evaluation.metric_names import KINDS, MetricName, metric_name
from simprod_tf.evaluation.reliability import Reliability
from simprod_tf.evaluation.report_data import LearningCurve
from simprod_tf.evaluation.slices import SliceRow

# Shown large at the head of the page, the first of them that there are.
_HEADLINES = ("pr_auc", "f1", "recall_at_1", "map_at_r", "b_cubed_f1", "row_f1")
_NUM_HEADLINES = 4
_MEASURES = {
    "loss": "training loss",
    "val_loss": "validation loss",
    "val_pr_auc": "PR-AUC",
    "val_map_at_r": "MAP@R",
    "val_recall_at_1": "Recall@1",
}


@dataclass(frozen=True)
class Cell:
    """A metric's value and bounds as text."""

    value: str
    bounds: str
    best: bool = False


@dataclass(frozen=True)
class MetricRow:
    """One metric of every model."""

    metric: MetricName
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class MetricKind:
    """The metrics of one kind, in the order of first appearance."""

    kind: str
    rows: tuple[MetricRow, ...]


@dataclass(frozen=True)
class Headline:
    """A metric of one model with its interval on a bar of 100 units."""

    metric: MetricName
    cell: Cell
    place: float
    low: float
    high: float


@dataclass(frozen=True)
class SliceLine:
    """One slice: what it is, how many rows, and a cell a metric."""

    row: SliceRow
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class SliceView:
    """The slices of one model and kind, in groups by column."""

    model: str
    kind: str
    metrics: tuple[MetricName, ...]
    groups: Mapping[str, tuple[SliceLine, ...]]


@dataclass(frozen=True)
class LeakLine:
    """One kind of thing that sides share: how often, for every two sides."""

    kind: str
    counts: tuple[int, ...]


def metric_kinds(evaluations: Sequence[Evaluation]) -> list[MetricKind]:
    """Returns every metric that any model has, with a cell a model, by kind."""
    names = dict.fromkeys(name for e in evaluations for name in e.metrics)
    rows = [_metric_row(metric_name(name), evaluations) for name in names]
    by_kind = {kind: [row for row in rows if row.metric.kind == kind] for kind in KINDS}
    return [MetricKind(kind, tuple(found)) for kind, found in by_kind.items() if found]


def _metric_row(metric: MetricName, evaluations: Sequence[Evaluation]) -> MetricRow:
    cells = [_cell(e.metrics.get(metric.name)) for e in evaluations]
    known = [float(one.value) for one in cells if one.value != "n/a"]
    best = min(known, default=0) if metric.lower_is_better else max(known, default=0)
    # Where all show the same number there is no best one.
    marked = f"{best:.3f}" if len(set(known)) > 1 else None
    return MetricRow(
        metric, tuple(Cell(x.value, x.bounds, x.value == marked) for x in cells)
    )


def _cell(interval: Interval | None) -> Cell:
    if interval is None or math.isnan(interval.value):
        return Cell("n/a", "")
    return Cell(f"{interval.value:.3f}", interval.bounds)


def headlines(evaluation: Evaluation) -> list[Headline]:
    """Returns the model's first few metrics that a reader looks for, as bars."""
    found = []
    for name in _HEADLINES:
        interval = evaluation.metrics.get(name)
        if interval is None or math.isnan(interval.value):
            continue
        bounds = (interval.low, interval.high)
        low, high = [interval.value if math.isnan(one) else one for one in bounds]
        places = [100 * min(max(one, 0.0), 1.0) for one in (interval.value, low, high)]
        found.append(Headline(metric_name(name), _cell(interval), *places))
    return found[:_NUM_HEADLINES]


def slice_views(evaluations: Sequence[Evaluation]) -> list[SliceView]:
    """Returns the slices of each model, those of pairs apart from those of queries."""
    views = []
    for evaluation in evaluations:
        for kind in dict.fromkeys(one.kind for one in evaluation.slices):
            rows = [one for one in evaluation.slices if one.kind == kind]
            names = tuple(dict.fromkeys(name for one in rows for name in one.metrics))
            groups: dict[str, tuple[SliceLine, ...]] = {}
            for one in rows:
                cells = tuple(_cell(one.metrics.get(name)) for name in names)
                groups[one.column] = (
                    *groups.get(one.column, ()),
                    SliceLine(one, cells),
                )
            metrics = tuple(metric_name(name) for name in names)
            views.append(SliceView(evaluation.name, kind, metrics, groups))
    return views


def leak_lines(report: LeakageReport) -> list[LeakLine]:
    """Returns a line for each kind, with a count for every two sides."""
    kinds = dict.fromkeys(one.kind for one in report.shared)
    return [
        LeakLine(kind, tuple(one.count for one in report.shared if one.kind == kind))
        for kind in kinds
    ]


def leak_sides(report: LeakageReport) -> list[tuple[str, str]]:
    """Returns every two sides, in the order of the counts of `leak_lines`."""
    return list(dict.fromkeys((one.first, one.second) for one in report.shared))


def measure_lines(curves: Sequence[LearningCurve]) -> dict[str, int]:
    """Returns which line each measure has in all plots; the first few only."""
    names = dict.fromkeys(name for one in curves for name in one.measures)
    # Losses first: the order is that of the plot, from above.
    ordered = sorted(names, key=lambda name: not name.endswith("loss"))
    return {name: line for line, name in enumerate(ordered[:LINES])}


def measure_label(name: str) -> str:
    """Returns a training's measure in words."""
    return _MEASURES.get(name, name.replace("_", " "))


def curves_text(evaluations: Sequence[Evaluation], metric: str, what: str) -> str:
    """Returns curves in words, by their areas, for those who do not see them."""
    areas = [
        f"{e.name}: area {e.metrics[metric]}"
        for e in evaluations
        if metric in e.metrics
    ]
    return f"{what} of the test pairs. " + "; ".join(areas) + "."


def recall_text(curves: Mapping[str, np.ndarray]) -> str:
    """Returns recall@k in words: at 1, 10 and the largest k of each model."""
    told = []
    for name, recall in curves.items():
        ks = sorted({k for k in (1, 10, len(recall)) if 1 <= k <= len(recall)})
        told.append(f"{name}: " + ", ".join(f"{recall[k - 1]:.3f} at {k}" for k in ks))
    return "Recall at k over k. " + "; ".join(told) + "."


def distances_text(evaluation: Evaluation) -> str:
    """Returns the histograms of distance in words."""
    similar = evaluation.pair_distances[evaluation.pair_labels == 1]
    others = evaluation.pair_distances[evaluation.pair_labels == 0]
    return (
        f"Histograms of distance, {evaluation.name}: {_spread(similar)} similar pairs, "
        f"{_spread(others)} not similar pairs."
    )


def reliability_text(name: str, found: Reliability | None) -> str:
    """Returns the reliability curve in words."""
    if found is None:
        return ""
    points = ", ".join(
        f"{share:.2f} at {probability:.2f}"
        for probability, share in zip(found.probability, found.share)
    )
    return f"Share similar over probability, {name}: {points}."


def learning_text(curve: LearningCurve) -> str:
    """Returns a learning curve in words: each measure's first and last value."""
    told = [
        f"{measure_label(name)} from {values[0]:.3f} to {values[-1]:.3f}"
        for name, values in curve.measures.items()
    ]
    return f"Learning curves, {curve.model}, {len(curve.epochs)} epochs: " + (
        "; ".join(told) + "."
    )


def _spread(distances: np.ndarray) -> str:
    if not len(distances):
        return "no"
    ordered = np.sort(distances)
    return f"{len(ordered)} (median {ordered[len(ordered) // 2]:.2f})"
