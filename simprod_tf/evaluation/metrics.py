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


@dataclass(frozen=True, eq=False)
class _Cuts:
    """Pairs accepted and similar pairs among them, up to each distinct distance."""

    max_distance: np.ndarray
    accepted: np.ndarray
    similar: np.ndarray


def pr_auc(labels: npt.ArrayLike, distances: npt.ArrayLike) -> float:
    """Returns the area under the precision-recall curve, as average precision.

    The sum over distinct distances of precision times the gain in recall, without
    interpolation between points; equal distances are accepted together. NaN if no pair
    is similar.
    """
    cuts = _cuts(labels, distances)
    if cuts.similar.size == 0 or cuts.similar[-1] == 0:
        return math.nan
    gain = np.diff(cuts.similar, prepend=0)
    return float((gain * (cuts.similar / cuts.accepted)).sum() / cuts.similar[-1])


def roc_auc(labels: npt.ArrayLike, distances: npt.ArrayLike) -> float:
    """Returns how often a similar pair is nearer than a not similar one.

    Equal distances count as half. NaN unless there are pairs of both kinds.
    """
    cuts = _cuts(labels, distances)
    others = cuts.accepted - cuts.similar
    if others.size == 0 or cuts.similar[-1] == 0 or others[-1] == 0:
        return math.nan
    farther_others = others[-1] - others
    tied_others = np.diff(others, prepend=0)
    gain = np.diff(cuts.similar, prepend=0)
    won = (gain * (farther_others + tied_others / 2)).sum()
    return float(won / (float(cuts.similar[-1]) * float(others[-1])))


def precision_recall_curve(
    labels: npt.ArrayLike, distances: npt.ArrayLike
) -> PrecisionRecallCurve:
    """Returns a point for each distinct distance; recall is NaN if none is similar."""
    cuts = _cuts(labels, distances)
    similar = int(np.sum(labels))
    recall = cuts.similar / similar if similar else np.full(cuts.similar.shape, np.nan)
    return PrecisionRecallCurve(
        max_distance=cuts.max_distance,
        precision=cuts.similar / cuts.accepted,
        recall=recall,
    )


def precision_recall_at(
    labels: npt.ArrayLike, distances: npt.ArrayLike, *, max_distance: float
) -> PrecisionRecall:
    """Returns precision and recall when `distance <= max_distance` means similar."""
    checked_labels, checked_distances = _checked(labels, distances)
    accepted = checked_distances <= max_distance
    hits = int(np.count_nonzero(checked_labels & accepted))
    return PrecisionRecall(
        precision=_share(hits, int(np.count_nonzero(accepted))),
        recall=_share(hits, int(np.count_nonzero(checked_labels))),
    )


def _cuts(labels: npt.ArrayLike, distances: npt.ArrayLike) -> _Cuts:
    checked_labels, checked_distances = _checked(labels, distances)
    order = np.argsort(checked_distances)
    ascending = checked_distances[order]
    # A threshold cannot part equal distances: only the last of each run is a cut.
    last = np.flatnonzero(np.diff(ascending, append=np.inf) > 0)
    similar = np.cumsum(checked_labels[order], dtype=np.int64)
    return _Cuts(max_distance=ascending[last], accepted=last + 1, similar=similar[last])


def _checked(
    labels: npt.ArrayLike, distances: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Labels as [N] bool and distances as [N] float64, or says what is wrong."""
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
