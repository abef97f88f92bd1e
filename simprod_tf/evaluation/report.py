"""The report: one HTML file that shows what the models find, and how sure that is.

The file stands alone: plots and pictures are inside, nothing is loaded from elsewhere,
and no script runs; the page's own Content-Security-Policy forbids both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from simprod_tf.atomic import whole_file
from simprod_tf.data.leakage import LeakageReport
from simprod_tf.evaluation import report_view as view
from simprod_tf.evaluation.evaluate import Evaluation
from simprod_tf.evaluation.figure_canvas import LINES
from simprod_tf.evaluation.figures import (
    curves_svg,
    distances_svg,
    learning_svg,
    recall_svg,
    reliability_svg,
    roc_svg,
)
from simprod_tf.evaluation.reliability import (
    Reliability,
    cross_fitted_reliability,
    reliability,
)
from simprod_tf.evaluation.report_data import (
    HardPairs,
    LearningCurve,
    QueryRow,
    QuerySection,
    Shown,
    WordCoverage,
)
from simprod_tf.evaluation.thumbnail import thumbnail_uri

__all__ = ["QueryRow", "QuerySection", "Shown", "write_report"]

_TEMPLATE = Path(__file__).with_name("report.html")
# Where a section is, what must be there for it to be shown, and its name.
_SECTIONS = (
    ("metrics", "kinds", "Metrics"),
    ("slices", "slices", "Slices"),
    ("curves", "curves", "Curves"),
    ("distances", "distances", "Distances"),
    ("reliability", "reliabilities", "Reliability"),
    ("learning", "trainings", "Learning curves"),
    ("words", "words", "Words"),
    ("leakage", "leaks", "Leakage"),
    ("pairs", "hard_pairs", "Hardest pairs"),
)
# As far as the plot of recall@k goes.
_MOST_NEIGHBOURS = 100


@dataclass(frozen=True)
class _Figure:
    """A plot of one model; `line` picks its colour and dashes in the legend."""

    name: str
    line: int
    svg: Markup
    text: str


@dataclass(frozen=True)
class _Model:
    """A model as the template sees it."""

    name: str
    line: int
    max_distance: float | None


class _Pictures:
    """The page's pictures, each read and embedded once, however often it is shown."""

    def __init__(self) -> None:
        self._numbers: dict[str, int | None] = {}
        self.uris: list[str] = []

    def number(self, path: str) -> int | None:
        """Returns a picture's place in `uris`, None where it cannot be shown."""
        if path not in self._numbers:
            uri = thumbnail_uri(path) if path else None
            self._numbers[path] = None if uri is None else len(self.uris)
            self.uris += [] if uri is None else [uri]
        return self._numbers[path]


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    summary: Sequence[tuple[str, str]],
    evaluations: Sequence[Evaluation],
    queries: Sequence[QuerySection],
    notes: Sequence[str] = (),
    headline: Evaluation | None = None,
    hard_pairs: Sequence[HardPairs] = (),
    curves: Sequence[LearningCurve] = (),
    words: Sequence[WordCoverage] = (),
    leakage: LeakageReport | None = None,
) -> None:
    """Writes the report as one self-contained HTML file, whole or not at all.

    Args:
        path: of the HTML file; its folder is made if missing.
        title: the page's heading.
        summary: (label, text) facts for the head of the page.
        evaluations: the models, in the order of the table, with their slices.
        queries: sections of queries shown beside their neighbours.
        notes: sentences that say what came out, right below the heading.
        headline: the model whose main metrics stand at the head; None for none.
        hard_pairs: sections of pairs that a model gets wrong.
        curves: of the models' trainings.
        words: what the models know of the titles' words.
        leakage: what the sides of the split judged on share.
    """
    lines = view.measure_lines(curves)
    pictures = _Pictures()
    parts: dict[str, Any] = {
        "kinds": view.metric_kinds(evaluations),
        "slices": view.slice_views(evaluations),
        "curves": _curve_figures(evaluations),
        "distances": _distance_figures(evaluations),
        "reliabilities": _reliability_figures(evaluations),
        "trainings": _learning_figures(curves, lines),
        "words": words,
        "leaks": [] if leakage is None else view.leak_lines(leakage),
        "hard_pairs": hard_pairs,
    }
    page = _template(pictures).render(
        **parts,
        title=title,
        summary=summary,
        notes=notes,
        contents=[
            *((id, label) for id, part, label in _SECTIONS if parts[part]),
            *((f"queries-{n}", one.title) for n, one in enumerate(queries, start=1)),
        ],
        headline=headline,
        headlines=[] if headline is None else view.headlines(headline),
        models=[
            _Model(one.name, number % LINES + 1, one.max_distance)
            for number, one in enumerate(evaluations)
        ],
        has_thresholds=any(one.max_distance is not None for one in evaluations),
        measures=[(view.measure_label(name), line + 1) for name, line in lines.items()],
        leakage=leakage,
        leak_sides=[] if leakage is None else view.leak_sides(leakage),
        sections=queries,
        pictures=pictures,
    )
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _template(pictures: _Pictures) -> Any:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["picture"] = pictures.number
    return environment.get_template(_TEMPLATE.name)


def _curve_figures(evaluations: Sequence[Evaluation]) -> list[_Figure]:
    """The curves that show all models in one plot; those of which there is data."""
    found = []
    if any(len(one.pair_labels) for one in evaluations):
        for name, metric, draw in (
            ("Precision over recall", "pr_auc", curves_svg),
            ("ROC", "roc_auc", roc_svg),
        ):
            text = view.curves_text(evaluations, metric, name)
            found.append(_Figure(name, 0, Markup(draw(evaluations)), text))
    recalls = {
        number: one.retrieval.recall_curve(_MOST_NEIGHBOURS)
        for number, one in enumerate(evaluations)
        if one.retrieval is not None and len(one.retrieval)
    }
    if recalls:
        named = {evaluations[number].name: curve for number, curve in recalls.items()}
        drawing = Markup(recall_svg(list(recalls.items())))
        found.append(_Figure("Recall@k over k", 0, drawing, view.recall_text(named)))
    return found


def _distance_figures(evaluations: Sequence[Evaluation]) -> list[_Figure]:
    return [
        _Figure(
            one.name,
            number % LINES + 1,
            Markup(distances_svg(one, number=number)),
            view.distances_text(one),
        )
        for number, one in enumerate(evaluations)
        if len(one.pair_labels)
    ]


def _reliability_figures(evaluations: Sequence[Evaluation]) -> list[_Figure]:
    found = [(number, one, _reliability(one)) for number, one in enumerate(evaluations)]
    return [
        _Figure(
            one.name,
            number % LINES + 1,
            Markup(reliability_svg(bins, number=number)),
            view.reliability_text(one.name, bins),
        )
        for number, one, bins in found
        if bins is not None
    ]


def _reliability(evaluation: Evaluation) -> Reliability | None:
    """Of the model's own probabilities; without any, of cross-fitted ones."""
    probabilities = evaluation.pair_probabilities
    if probabilities is not None and len(probabilities):
        return reliability(np.asarray(probabilities), evaluation.pair_labels)
    return cross_fitted_reliability(evaluation.pair_distances, evaluation.pair_labels)


def _learning_figures(
    curves: Sequence[LearningCurve], lines: Mapping[str, int]
) -> list[_Figure]:
    found = []
    for number, one in enumerate(curves):
        shown = {name: line for name, line in lines.items() if name in one.measures}
        if len(one.epochs) and shown:
            drawing = Markup(learning_svg(one, shown, number=number))
            found.append(_Figure(one.model, 0, drawing, view.learning_text(one)))
    return found
