"""Thresholds tested from near to far, so that trying many costs no promise.

"Learn then Test" (Angelopoulos, Bates, Candes, Jordan and Lei 2021,
https://arxiv.org/abs/2110.01052): each threshold is a hypothesis, "its precision is
below the target"; a fixed sequence of them is tested outwards, each at the whole error
allowed, until one is not rejected. Several starts share that error, and a walk that
comes as far as the next start takes its share along (the fallback procedure: Wiens and
Dmitrienko 2005, https://doi.org/10.1080/10543400500265660). The chance that any
threshold is accepted wrongly is then at most 1 - confidence, up to Wilson's
approximation.

The thresholds stand at numbers of accepted pairs that depend on the distances and on
how many of the pairs are similar, never on which.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

# Found by simulation (benchmarks/promise.py): more steps let a walk stop at chance
# dips, fewer leave recall between two of them.
_STEPS = 64
# A walk must begin where the bound can pass although some pairs are not similar, hence
# this multiple of the fewest pairs with which it passes if all are.
_ROOM = 1.7


@dataclass(frozen=True)
class Accepted:
    """The pairs up to a distance.

    Attributes:
        max_distance: of the farthest of them.
        count: how many there are.
        hits: how many of them are similar.
        bound: the lower bound of their share of similar pairs.
    """

    max_distance: float
    count: int
    hits: int
    bound: float


@dataclass(frozen=True)
class Start:
    """Where a walk begins: after `count` pairs, with this share of the error."""

    count: int
    share: float


def walk_outwards(
    distances: np.ndarray,
    positive: np.ndarray,
    *,
    precision: float,
    confidence: float,
) -> Accepted | None:
    """Returns the most pairs of which this share is similar, or None.

    Args:
        distances: [N] float64.
        positive: [N] bool.
        precision: the share that is wanted, in these pairs.
        confidence: how often it must hold.
    """
    order = np.argsort(distances, kind="stable")
    distances, hits = distances[order], np.cumsum(positive[order])
    error = 1 - confidence
    starts = walk_starts(int(positive.sum()), precision=precision, error=error)
    if not starts:
        return None
    # Pairs of one distance are accepted together: only the last of them is a choice.
    ends = np.flatnonzero(np.append(np.diff(distances) > 0, True)) + 1
    counts = _counts(starts, ends, precision=precision, hits=int(hits[-1]))
    gained = np.zeros(len(counts))
    for start in starts:
        at = min(int(np.searchsorted(counts, start.count)), len(counts) - 1)
        gained[at] += start.share * error
    found, left = None, 0.0
    for count, gain in zip(counts, gained):
        left += gain
        if left <= 0:
            continue
        bound = _bound(int(hits[count - 1]), int(count), error=left)
        if bound < precision:
            left = 0.0
            continue
        found = Accepted(
            float(distances[count - 1]), int(count), int(hits[count - 1]), bound
        )
    return found


def walk_starts(num_positives: int, *, precision: float, error: float) -> list[Start]:
    """Returns where to begin with so many similar pairs; nowhere if none can pass.

    With enough of them two walks begin, at a quarter and at half of their number, since
    either may be the better place; with few, one walk has the whole error.
    """
    fewest = fewest_pairs(precision, error=error / 2)
    if num_positives / 4 >= _ROOM * fewest:
        counts = math.ceil(num_positives / 4), math.ceil(num_positives / 2)
        return [Start(count, 0.5) for count in counts]
    fewest = fewest_pairs(precision, error=error)
    if num_positives < fewest:
        return []
    count = max(num_positives / 3, min(_ROOM * fewest, (fewest + num_positives) / 2))
    return [Start(math.ceil(count), 1.0)]


def fewest_pairs(precision: float, *, error: float) -> float:
    """Returns how many pairs pass if all are similar: n / (n + z^2) >= precision."""
    return NormalDist().inv_cdf(1 - error) ** 2 * precision / (1 - precision)


def wilson_lower_bound(
    hits: np.ndarray, counts: np.ndarray, *, confidence: float
) -> np.ndarray:
    """Returns the one-sided lower bounds of the shares hits / counts.

    Wilson (1927), https://doi.org/10.1080/01621459.1927.10502953.

    Args:
        hits: [N] int, between 0 and `counts`.
        counts: [N] int, at least 1.
        confidence: how often the true share is at least the bound.
    """
    z = NormalDist().inv_cdf(confidence)
    share = hits / counts
    middle = share + z * z / (2 * counts)
    spread = z * np.sqrt(share * (1 - share) / counts + (z / (2 * counts)) ** 2)
    # For no hits, rounding may leave -1e-17.
    return np.maximum((middle - spread) / (1 + z * z / counts), 0.0)


def _bound(hits: int, count: int, *, error: float) -> float:
    bounds = wilson_lower_bound(
        np.array([hits]), np.array([count]), confidence=1 - error
    )
    return float(bounds[0])


def _counts(
    starts: list[Start], ends: np.ndarray, *, precision: float, hits: int
) -> np.ndarray:
    """Returns the numbers of pairs to test, rising, each the end of equal distances."""
    # With more pairs than this, too few of them could be similar.
    last = max(min(int(hits / precision), int(ends[-1])), starts[0].count)
    wanted = np.geomspace(starts[0].count, last, _STEPS).round()
    at = np.searchsorted(ends, np.append(wanted, [start.count for start in starts]))
    return np.unique(ends[np.minimum(at, len(ends) - 1)])
