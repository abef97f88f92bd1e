"""How well distances tell similar pairs from not similar ones.

Every function takes labels [N] (1 = similar, 0 = not) and distances [N], lower being
more alike. A measure that the pairs cannot give, such as the precision when nothing is
accepted, is NaN: resamples of a small test set do meet that case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simprod_tf.evaluation.cuts import (
    Cuts,
    area_under_roc,
    average_precision,
    highest_f1,
    highest_recall,
    last_of_ties,
)


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """Precision and recall of "distance <= max_distance is similar", by max_distance.

    Args:
        max_distance: [T] float64, every distance that occurs, ascending.
        precision: [T] float64, share of the accepted pairs that are similar.
        recall: [T] float64, share of the similar pairs that are accepted; ascending.
    """

    max_distance: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall at one `max_distance`; NaN where there is none."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """2 hits / (accepted + similar); NaN if nothing is accepted or similar."""
        if math.isnan(self.precision) and math.isnan(self.recall):
            return math.nan
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total > 0 else 0.0


def pr_auc(labels: npt.ArrayLike, distances: npt.ArrayLike) -> float:
    """Returns the area under the precision-recall curve, as average precision.

    The sum over distinct distances of precision times the gain in recall, without
    interpolation between points; equal distances are accepted together. NaN if no pair
    is similar.
    """
    return float(average_precision(_cuts(labels, distances)[1]))


def roc_auc(labels: npt.ArrayLike, distances: npt.ArrayLike) -> float:
    """Returns how often a similar pair is nearer than a not similar one.

    Equal distances count as half. NaN unless there are pairs of both kinds.
    """
    return float(area_under_roc(_cuts(labels, distances)[1]))


def best_f1(labels: npt.ArrayLike, distances: npt.ArrayLike) -> float:
    """Returns the highest F1 that any threshold gives on these pairs.

    An oracle: the threshold is chosen on the pairs that are judged, so it says what the
    order of the distances allows, not what a threshold chosen beforehand reaches. NaN
    if no pair is similar.
    """
    return float(highest_f1(_cuts(labels, distances)[1]))


def recall_at_precision(
    labels: npt.ArrayLike, distances: npt.ArrayLike, *, precision: float
) -> float:
    """Returns the highest recall of any threshold whose precision is at least this.

    0 if there is no such threshold; NaN if no pair is similar. An oracle, as `best_f1`.
    """
    if not 0 < precision <= 1:
        raise ValueError(f"precision must be above 0 and at most 1, got {precision}.")
    return float(highest_recall(_cuts(labels, distances)[1], precision=precision))


def precision_recall_curve(
    labels: npt.ArrayLike, distances: npt.ArrayLike
) -> PrecisionRecallCurve:
    """Returns a point for each distinct distance; recall is NaN if none is similar."""
    max_distance, cuts = _cuts(labels, distances)
    similar = int(np.sum(labels))
    recall = cuts.similar / similar if similar else np.full(cuts.similar.shape, np.nan)
    return PrecisionRecallCurve(
        max_distance=max_distance,
        precision=cuts.similar / cuts.accepted,
        recall=recall,
    )


def precision_recall_at(
    labels: npt.ArrayLike, distances: npt.ArrayLike, *, max_distance: float
) -> PrecisionRecall:
    """Returns precision and recall when `distance <= max_distance` means similar."""
    checked_labels, checked_distances = checked_pairs(labels, distances)
    accepted = checked_distances <= max_distance
    hits = int(np.count_nonzero(checked_labels & accepted))
    return PrecisionRecall(
        precision=_share(hits, int(np.count_nonzero(accepted))),
        recall=_share(hits, int(np.count_nonzero(checked_labels))),
    )


def _cuts(labels: npt.ArrayLike, distances: npt.ArrayLike) -> tuple[np.ndarray, Cuts]:
    """Returns the [T] distinct distances, ascending, and what each cut accepts."""
    checked_labels, checked_distances = checked_pairs(labels, distances)
    order = np.argsort(checked_distances)
    ascending = checked_distances[order]
    last = last_of_ties(ascending)
    similar = np.cumsum(checked_labels[order], dtype=np.int64)
    return ascending[last], Cuts(accepted=last + 1, similar=similar[last])


def checked_pairs(
    labels: npt.ArrayLike, distances: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels as [N] bool and distances as [N] float64.

    Raises:
        ValueError: the shapes differ, a label is not 0 or 1, a distance is not finite.
    """
    label_array = np.asarray(labels)
    distance_array = np.asarray(distances, dtype=np.float64)
    if label_array.ndim != 1 or label_array.shape != distance_array.shape:
        raise ValueError(
            "labels and distances must be two rows of one length, got shapes "
            f"{label_array.shape} and {distance_array.shape}."
        )
    flags = label_array == 1
    if not np.all(flags | (label_array == 0)):
        raise ValueError("labels must be 1 (similar) or 0 (not similar).")
    if not np.all(np.isfinite(distance_array)):
        raise ValueError("distances must be finite; NaN or infinity is among them.")
    return flags, distance_array


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
