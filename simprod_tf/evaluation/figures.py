"""The report's plots, as SVG that takes its colours from the page around it.

Matplotlib draws in marker colours; these are then replaced by `currentColor` and CSS
variables (`--line-1`, `--similar`, ...), so that one drawing serves a light page, a
dark one and paper. Names of models stay out of the drawings: the page writes them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from simprod_tf.evaluation.evaluate import Evaluation
from simprod_tf.evaluation.metrics import PrecisionRecallCurve, precision_recall_at
from simprod_tf.evaluation.reliability import Reliability

LINES = 6
"""How many lines the page has colours and dashes for; further ones begin again."""

_INK, _SIMILAR, _OTHER = "#010101", "#020202", "#030303"
_LINE_MARKERS = [f"#04040{number}" for number in range(1, LINES + 1)]
_DASHES = [
    "-",
    (0, (6, 2)),
    (0, (2, 1.5)),
    (0, (7, 2, 1.5, 2)),
    (0, (4, 4)),
    (0, (1, 3)),
]
_COLOURS = {
    _INK: "currentColor",
    _SIMILAR: "var(--similar)",
    _OTHER: "var(--other)",
    **{marker: f"var(--line-{i})" for i, marker in enumerate(_LINE_MARKERS, start=1)},
}
# SVG's own text follows the page's font; a fixed salt makes equal plots equal bytes.
_STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "simprod", "font.size": 9.0}
_MOST_POINTS = 600
_BINS = np.linspace(0.0, 2.0, 41)


def curves_svg(evaluations: Sequence[Evaluation]) -> str:
    """Returns the precision-recall curves of all models, with their thresholds' points.

    The dotted line is what chance gives: the share of similar pairs.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _blank(width=5.2, height=3.5)
        for number, evaluation in enumerate(evaluations):
            _draw_curve(axes, evaluation, number % LINES)
        chance = [
            float(e.pair_labels.mean()) for e in evaluations if e.pair_labels.size
        ]
        for share in sorted(set(chance)):
            axes.axhline(share, color=_INK, linewidth=0.8, linestyle=":", alpha=0.6)
        axes.set(
            xlim=(-0.01, 1.01), ylim=(0, 1.02), xlabel="Recall", ylabel="Precision"
        )
        return _svg(figure, prefix="curves")


def distances_svg(evaluation: Evaluation, *, number: int) -> str:
    """Returns one model's histograms of distance, of similar and of other pairs.

    Args:
        evaluation: the model's.
        number: tells this drawing's parts from those of others on the same page.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _blank(width=3.8, height=2.5)
        for label, colour, alpha in [(0, _OTHER, 0.35), (1, _SIMILAR, 0.45)]:
            distances = evaluation.pair_distances[evaluation.pair_labels == label]
            shares = np.histogram(distances, _BINS)[0] / max(len(distances), 1) * 100
            axes.stairs(
                shares, _BINS, fill=True, color=colour, alpha=alpha, linewidth=0
            )
            axes.stairs(shares, _BINS, color=colour, linewidth=1.4)
        if evaluation.max_distance is not None:
            axes.axvline(
                evaluation.max_distance, color=_INK, linestyle="--", linewidth=1
            )
        axes.set(xlim=(0, 2), xlabel="Distance", ylabel="Share of pairs (%)")
        axes.set_xticks([0.0, 0.5, 1.0, 1.5, 2.0])
        return _svg(figure, prefix=f"distances-{number}")


def reliability_svg(reliability: Reliability, *, number: int) -> str:
    """Returns a model's reliability: the share of similar pairs over the probability.

    A point a bin; the dotted line is where they would lie if each probability held.

    Args:
        reliability: the model's.
        number: tells this drawing's parts from those of others on the same page.
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _blank(width=3.8, height=2.5)
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=":", alpha=0.6)
        axes.plot(
            reliability.probability,
            reliability.share,
            "o-",
            color=_LINE_MARKERS[number % LINES],
            linewidth=1.4,
            markersize=4,
        )
        count = int(reliability.count.sum())
        axes.set_title(
            f"{count} pairs, ECE {reliability.expected_calibration_error:.3f}",
            color=_INK,
            fontsize="medium",
        )
        axes.set(
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
            xlabel="Probability",
            ylabel="Share of similar pairs",
        )
        return _svg(figure, prefix=f"reliability-{number}")


def _draw_curve(axes: Axes, evaluation: Evaluation, line: int) -> None:
    curve = _thinned(evaluation.curve)
    colour = _LINE_MARKERS[line]
    # Each stretch of recall was gained at the precision of its right end.
    axes.step(
        np.concatenate([np.zeros_like(curve.recall[:1]), curve.recall]),
        np.concatenate([curve.precision[:1], curve.precision]),
        where="pre",
        color=colour,
        linestyle=_DASHES[line],
        linewidth=1.8,
    )
    if evaluation.max_distance is not None:
        point = precision_recall_at(
            evaluation.pair_labels,
            evaluation.pair_distances,
            max_distance=evaluation.max_distance,
        )
        axes.plot([point.recall], [point.precision], "o", color=colour, markersize=6)


def _thinned(curve: PrecisionRecallCurve) -> PrecisionRecallCurve:
    """At most 600 of the curve's points, evenly by rank, the last among them."""
    count = len(curve.recall)
    if count <= _MOST_POINTS:
        return curve
    rows = np.unique(np.linspace(0, count - 1, _MOST_POINTS).round().astype(np.int64))
    return PrecisionRecallCurve(
        curve.max_distance[rows], curve.precision[rows], curve.recall[rows]
    )


def _blank(*, width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0.0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0.0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)
    axes.tick_params(colors=_INK, which="both")
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    axes.grid(color=_INK, alpha=0.12, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure, *, prefix: str) -> str:
    """The drawing as an <svg> element to stand inside a page."""
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1">', text)
    # Several drawings share one page: without a prefix their ids would collide.
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = text.replace("xlink:href", "href")
    for marker, colour in _COLOURS.items():
        text = text.replace(marker, colour)
    return text.strip()
