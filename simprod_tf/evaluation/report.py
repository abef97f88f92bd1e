"""The report: one HTML file that shows what the models find, and how sure that is.

The file stands alone: plots and pictures are inside, nothing is loaded from elsewhere,
and no script runs.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from simprod_tf.atomic import whole_file
from simprod_tf.evaluation.evaluate import Evaluation
from simprod_tf.evaluation.figures import (
    LINES,
    curves_svg,
    distances_svg,
    reliability_svg,
)
from simprod_tf.evaluation.reliability import Reliability, cross_fitted_reliability
from simprod_tf.evaluation.thumbnail import thumbnail_uri

_TEMPLATE = Path(__file__).with_name("report.html")
# Label and meaning by the names that evaluate_model gives; {k} is recall_at_<k>'s.
_METRICS = {
    "pr_auc": (
        "PR-AUC",
        "area under the precision-recall curve of the test pairs (average precision)",
    ),
    "roc_auc": ("ROC-AUC", "how often a similar pair is nearer than a not similar one"),
    "precision": (
        "Precision",
        "share of the pairs within the model's threshold that are similar",
    ),
    "recall": (
        "Recall",
        "share of the similar pairs that are within the model's threshold",
    ),
    "recall_at": (
        "Recall@{k}",
        "share of queries with a right product among the first {k}",
    ),
    "map_at_r": (
        "MAP@R",
        "average precision over as many neighbours as there are right products",
    ),
}


@dataclass(frozen=True)
class Shown:
    """A product as the report shows it.

    Args:
        id: the product's own key.
        title: its title; may be empty.
        image: path of its picture, or "" if it has none.
        group: what it belongs to, or "" if that is not known.
        distance: from the query; None for the query itself.
        right: whether it is of the query's group; None if that is not known.
    """

    id: str
    title: str
    image: str = ""
    group: str = ""
    distance: float | None = None
    right: bool | None = None


@dataclass(frozen=True)
class QueryRow:
    """A query's product and its neighbours, the nearest first."""

    product: Shown
    neighbours: tuple[Shown, ...]


@dataclass(frozen=True)
class QuerySection:
    """Query rows under one heading, say "Worst queries", and how they were chosen."""

    title: str
    rows: tuple[QueryRow, ...]
    note: str = ""


@dataclass(frozen=True)
class _Metric:
    name: str
    label: str
    meaning: str


@dataclass(frozen=True)
class _Cell:
    value: str
    bounds: str
    best: bool


@dataclass(frozen=True)
class _Model:
    """A model as the template sees it; `line` picks its colour and dashes."""

    name: str
    line: int
    max_distance: float | None
    cells: list[_Cell]
    distances_svg: Markup
    distances_text: str
    reliability_svg: Markup
    reliability_text: str


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    summary: Sequence[tuple[str, str]],
    evaluations: Sequence[Evaluation],
    queries: Sequence[QuerySection],
    notes: Sequence[str] = (),
) -> None:
    """Writes the report as one self-contained HTML file, whole or not at all.

    Args:
        path: of the HTML file; its folder is made if missing.
        title: the page's heading.
        summary: (label, text) facts for the head of the page.
        evaluations: the models, in the order of the table.
        queries: sections of queries shown beside their neighbours.
        notes: sentences that say what came out, right below the heading.
    """
    metrics = _metrics(evaluations)
    page = _template().render(
        title=title,
        summary=summary,
        notes=notes,
        metrics=metrics,
        models=_models(evaluations, metrics),
        has_thresholds=any(e.max_distance is not None for e in evaluations),
        has_pairs=any(len(e.pair_labels) for e in evaluations),
        curves_svg=Markup(curves_svg(evaluations)) if evaluations else "",
        curves_text=_curves_text(evaluations),
        sections=queries,
    )
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Products recur across rows: each picture is read once a report.
    picture: Callable[[str], str | None] = lru_cache(maxsize=None)(thumbnail_uri)
    environment.globals["picture"] = picture
    return environment.get_template(_TEMPLATE.name)


def _metrics(evaluations: Sequence[Evaluation]) -> list[_Metric]:
    """Every metric that any model has, in the order of first appearance."""
    names = dict.fromkeys(name for e in evaluations for name in e.metrics)
    return [_metric(name) for name in names]


def _metric(name: str) -> _Metric:
    ranked = re.fullmatch(r"(recall_at)_(\d+)", name)
    key, k = (ranked[1], ranked[2]) if ranked else (name, "")
    label, meaning = _METRICS.get(key, (name, ""))
    return _Metric(name, label.format(k=k), meaning.format(k=k))


def _models(
    evaluations: Sequence[Evaluation], metrics: Sequence[_Metric]
) -> list[_Model]:
    columns = [_column(evaluations, metric.name) for metric in metrics]
    reliabilities = [
        cross_fitted_reliability(e.pair_distances, e.pair_labels) for e in evaluations
    ]
    return [
        _Model(
            name=evaluation.name,
            line=number % LINES + 1,
            max_distance=evaluation.max_distance,
            cells=[column[number] for column in columns],
            distances_svg=Markup(distances_svg(evaluation, number=number)),
            distances_text=_distances_text(evaluation),
            reliability_svg=Markup(
                "" if found is None else reliability_svg(found, number=number)
            ),
            reliability_text=_reliability_text(evaluation, found),
        )
        for number, (evaluation, found) in enumerate(zip(evaluations, reliabilities))
    ]


def _column(evaluations: Sequence[Evaluation], name: str) -> list[_Cell]:
    """One metric of every model; best are those that show the highest number."""
    intervals = [evaluation.metrics.get(name) for evaluation in evaluations]
    values = [
        "n/a" if i is None or math.isnan(i.value) else f"{i.value:.3f}"
        for i in intervals
    ]
    known = [float(value) for value in values if value != "n/a"]
    # Where all show the same number there is no best one.
    best = f"{max(known):.3f}" if len(set(known)) > 1 else None
    return [
        _Cell(value, "" if interval is None else interval.bounds, value == best)
        for value, interval in zip(values, intervals)
    ]


def _curves_text(evaluations: Sequence[Evaluation]) -> str:
    """The curves in words, for those who do not see them."""
    areas = [
        f"{e.name}: area {e.metrics['pr_auc']}"
        for e in evaluations
        if "pr_auc" in e.metrics
    ]
    return "Precision over recall of the test pairs. " + "; ".join(areas) + "."


def _distances_text(evaluation: Evaluation) -> str:
    similar = evaluation.pair_distances[evaluation.pair_labels == 1]
    others = evaluation.pair_distances[evaluation.pair_labels == 0]
    return (
        f"Histograms of distance, {evaluation.name}: {_spread(similar)} similar pairs, "
        f"{_spread(others)} not similar pairs."
    )


def _reliability_text(evaluation: Evaluation, found: Reliability | None) -> str:
    if found is None:
        return ""
    points = ", ".join(
        f"{share:.2f} at {probability:.2f}"
        for probability, share in zip(found.probability, found.share)
    )
    return f"Share similar over probability, {evaluation.name}: {points}."


def _spread(distances: Any) -> str:
    if not len(distances):
        return "no"
    ordered = sorted(float(distance) for distance in distances)
    return f"{len(ordered)} (median {ordered[len(ordered) // 2]:.2f})"
