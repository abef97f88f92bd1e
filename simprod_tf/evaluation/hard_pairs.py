"""Which labelled pairs a model gets wrong the most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class HardRows:
    """Rows of pairs, the hardest first.

    Attributes:
        false_positives: [n] int64, pairs that are not similar and near.
        false_negatives: [m] int64, pairs that are similar and far.
    """

    false_positives: np.ndarray
    false_negatives: np.ndarray


def hardest_pairs(
    distances: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    max_distance: float | None,
    anchors: npt.ArrayLike,
    others: npt.ArrayLike,
    count: int = 12,
) -> HardRows:
    """Returns the pairs that are not similar and nearest, and similar and farthest.

    With a threshold they are errors of it: false positives are within, false negatives
    beyond. A product stands in one pair of each kind at most, so that one odd product
    does not fill the list; ties keep the order of the rows.

    Args:
        distances: [N] float; a pair of NaN is left out.
        labels: [N], 1 = similar.
        max_distance: the threshold, or None.
        anchors, others: [N], who is in each pair.
        count: of each kind, at most.
    """
    distances = np.asarray(distances, np.float64)
    similar = np.asarray(labels) == 1
    limit = np.inf if max_distance is None else max_distance
    floor = -np.inf if max_distance is None else max_distance
    near = np.flatnonzero(~similar & (distances <= limit))
    far = np.flatnonzero(similar & (distances > floor))
    sides = list(zip(np.asarray(anchors).tolist(), np.asarray(others).tolist()))
    return HardRows(
        _of_new_products(
            near[np.argsort(distances[near], kind="stable")], sides, count
        ),
        _of_new_products(far[np.argsort(-distances[far], kind="stable")], sides, count),
    )


def _of_new_products(
    rows: Iterable[int], sides: list[tuple[object, object]], count: int
) -> np.ndarray:
    seen: set[object] = set()
    kept: list[int] = []
    for row in rows:
        if len(kept) == count:
            break
        if seen.isdisjoint(sides[row]):
            seen.update(sides[row])
            kept.append(int(row))
    return np.array(kept, np.int64)
