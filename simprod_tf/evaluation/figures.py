"""The report's plots; names of models stay out of them: the page writes those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from simprod_tf.evaluation.evaluate import Evaluation
from simprod_tf.evaluation.figure_canvas import (
    DASHES,
    INK,
    LINE_MARKERS,
    LINES,
    OTHER,
    SIMILAR,
    as_svg,
    blank,
    plot_style,
)
from simprod_tf.evaluation.metrics import PrecisionRecallCurve, precision_recall_at
from simprod_tf.evaluation.reliability import Reliability
from simprod_tf.evaluation.report_data import LearningCurve

_MOST_POINTS = 600
_BINS = np.linspace(0.0, 2.0, 41)
_UNIT = (-0.01, 1.02)


def curves_svg(evaluations: Sequence[Evaluation]) -> str:
    """Returns the precision-recall curves of all models, with their thresholds' points.

    The dotted line is what chance gives: the share of similar pairs.
    """
    with plot_style():
        figure, (axes,) = blank()
        for number, evaluation in enumerate(evaluations):
            _draw_curve(axes, evaluation, number % LINES)
        chance = [
            float(e.pair_labels.mean()) for e in evaluations if e.pair_labels.size
        ]
        for share in sorted(set(chance)):
            axes.axhline(share, color=INK, linewidth=0.8, linestyle=":", alpha=0.6)
        axes.set(xlim=_UNIT, ylim=(0, 1.02), xlabel="Recall", ylabel="Precision")
        return as_svg(figure, prefix="curves")


def roc_svg(evaluations: Sequence[Evaluation]) -> str:
    """Returns the ROC curves of all models; the dotted line is what chance gives."""
    with plot_style():
        figure, (axes,) = blank()
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":", alpha=0.6)
        for number, evaluation in enumerate(evaluations):
            others, similar = roc_points(
                evaluation.pair_labels, evaluation.pair_distances
            )
            rows = _even_rows(len(others))
            line = number % LINES
            axes.plot(
                others[rows],
                similar[rows],
                color=LINE_MARKERS[line],
                linestyle=DASHES[line],
                linewidth=1.8,
            )
        axes.set(
            xlim=_UNIT,
            ylim=_UNIT,
            xlabel="Share of not similar pairs within",
            ylabel="Share of similar within",
        )
        return as_svg(figure, prefix="roc")


def roc_points(
    labels: np.ndarray, distances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ROC curve: [T] shares of not similar and of similar pairs within.

    A point a distinct distance, the nearest first, after (0, 0). Empty where one of the
    two kinds of pairs is missing.

    Args:
        labels: [N], 1 = similar.
        distances: [N] float.
    """
    if not 0 < labels.sum() < len(labels):
        return np.empty(0), np.empty(0)
    order = np.argsort(distances, kind="stable")
    similar, others = np.cumsum(labels[order] == 1), np.cumsum(labels[order] != 1)
    ordered = distances[order]
    # Pairs of one distance come within together.
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    return (
        np.append(0.0, others[last] / others[-1]),
        np.append(0.0, similar[last] / similar[-1]),
    )


def recall_svg(curves: Sequence[tuple[int, np.ndarray]]) -> str:
    """Returns recall@k over k, from 1 up.

    Args:
        curves: of each model, the number of its line, and its [K] float64 recall at 1
            to K.
    """
    with plot_style():
        figure, (axes,) = blank()
        longest = max((len(recall) for _, recall in curves), default=1)
        for number, recall in curves:
            line = number % LINES
            axes.plot(
                np.arange(1, len(recall) + 1),
                recall,
                color=LINE_MARKERS[line],
                linestyle=DASHES[line],
                linewidth=1.8,
                marker="o" if longest == 1 else None,
            )
        if longest > 1:
            axes.set_xscale("log")
            ticks = [k for k in (1, 2, 5, 10, 20, 50, 100) if k <= longest]
            axes.set_xticks(ticks)
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.minorticks_off()
        axes.set(ylim=(0, 1.02), xlabel="k (log scale)", ylabel="Recall@k")
        return as_svg(figure, prefix="recall")


def distances_svg(evaluation: Evaluation, *, number: int) -> str:
    """Returns one model's histograms of distance, of similar and of other pairs.

    Args:
        evaluation: the model's.
        number: tells this drawing's parts from those of others on the same page.
    """
    with plot_style():
        figure, (axes,) = blank()
        for label, colour, alpha in [(0, OTHER, 0.35), (1, SIMILAR, 0.45)]:
            distances = evaluation.pair_distances[evaluation.pair_labels == label]
            shares = np.histogram(distances, _BINS)[0] / max(len(distances), 1) * 100
            axes.stairs(
                shares, _BINS, fill=True, color=colour, alpha=alpha, linewidth=0
            )
            axes.stairs(shares, _BINS, color=colour, linewidth=1.4)
        if evaluation.max_distance is not None:
            axes.axvline(
                evaluation.max_distance, color=INK, linestyle="--", linewidth=1
            )
        axes.set(xlim=(0, 2), xlabel="Distance", ylabel="Share of pairs (%)")
        axes.set_xticks([0.0, 0.5, 1.0, 1.5, 2.0])
        return as_svg(figure, prefix=f"distances-{number}")


def reliability_svg(reliability: Reliability, *, number: int) -> str:
    """Returns a model's reliability: the share of similar pairs over the probability.

    A point a bin; the dotted line is where they would lie if each probability held.

    Args:
        reliability: the model's.
        number: tells this drawing's parts from those of others on the same page.
    """
    with plot_style():
        figure, (axes,) = blank()
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":", alpha=0.6)
        axes.plot(
            reliability.probability,
            reliability.share,
            "o-",
            color=LINE_MARKERS[number % LINES],
            linewidth=1.4,
            markersize=4,
        )
        count = int(reliability.count.sum())
        axes.set_title(
            f"{count} pairs, ECE {reliability.expected_calibration_error:.3f}",
            color=INK,
            fontsize="medium",
        )
        axes.set(
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
            xlabel="Probability",
            ylabel="Share of similar pairs",
        )
        return as_svg(figure, prefix=f"reliability-{number}")


def learning_svg(curve: LearningCurve, lines: Mapping[str, int], *, number: int) -> str:
    """Returns a training's measures over its epochs: losses above, the others below.

    Args:
        curve: the training's.
        lines: which line each measure has, from 0.
        number: tells this drawing's parts from those of others on the same page.
    """
    losses = [name for name in lines if name.endswith("loss")]
    others = [name for name in lines if not name.endswith("loss")]
    panels = [part for part in ((losses, "Loss"), (others, "On validation")) if part[0]]
    with plot_style():
        figure, found = blank(height=1.1 + 1.5 * len(panels), rows=len(panels))
        for axes, (names, label) in zip(found, panels):
            for name in names:
                axes.plot(
                    curve.epochs,
                    curve.measures[name],
                    color=LINE_MARKERS[lines[name]],
                    linestyle=DASHES[lines[name]],
                    linewidth=1.6,
                    marker="o" if len(curve.epochs) == 1 else None,
                )
            axes.set_ylabel(label)
        found[-1].set_xlabel("Epoch")
        found[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        return as_svg(figure, prefix=f"learning-{number}")


def _draw_curve(axes: Axes, evaluation: Evaluation, line: int) -> None:
    curve = _thinned(evaluation.curve)
    colour = LINE_MARKERS[line]
    # Each stretch of recall was gained at the precision of its right end.
    axes.step(
        np.concatenate([np.zeros_like(curve.recall[:1]), curve.recall]),
        np.concatenate([curve.precision[:1], curve.precision]),
        where="pre",
        color=colour,
        linestyle=DASHES[line],
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
    rows = _even_rows(len(curve.recall))
    return PrecisionRecallCurve(
        curve.max_distance[rows], curve.precision[rows], curve.recall[rows]
    )


def _even_rows(count: int) -> np.ndarray:
    """At most 600 of so many rows, the first and the last among them."""
    if count <= _MOST_POINTS:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, _MOST_POINTS).round().astype(np.int64))
