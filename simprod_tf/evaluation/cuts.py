"""What a threshold accepts, at each place where it can stand; measures over all places.

Counts may be weighted, so that a bootstrap counts each pair as often as it was drawn
without sorting the pairs again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Cuts:
    """What is accepted up to each of T distinct distances, the nearest first.

    Attributes:
        accepted: [..., T] int64 or float64, the pairs (or their weight) up to the
            distance; never falling, and all of them at the last cut. A resample each
            where there are more axes.
        similar: [..., T] likewise, the similar ones among them.
    """

    accepted: np.ndarray
    similar: np.ndarray

    @property
    def num_similar(self) -> np.ndarray:
        """[...] all similar pairs; 0 where there are no pairs."""
        return _last(self.similar)

    @property
    def num_others(self) -> np.ndarray:
        """[...] all other pairs."""
        return _last(self.accepted) - self.num_similar

    @cached_property
    def precision(self) -> np.ndarray:
        """[..., T] float64, the share of the accepted that is similar."""
        # A resample may leave out the nearest pairs: up to there nothing is accepted.
        return self.similar / np.maximum(self.accepted, 1)


def last_of_ties(ascending: np.ndarray) -> np.ndarray:
    """Returns [T] int64: where each run of equal values ends.

    A threshold cannot part equal distances: only the last of each run is a cut.
    """
    return np.flatnonzero(np.diff(ascending, append=np.inf) > 0)


def average_precision(cuts: Cuts) -> np.ndarray:
    """Returns [...] the sum of precision times gain in recall; NaN if none similar."""
    gain = np.diff(cuts.similar, prepend=0)
    return ratio((gain * cuts.precision).sum(axis=-1), cuts.num_similar)


def area_under_roc(cuts: Cuts) -> np.ndarray:
    """Returns [...] how often a similar pair comes first; NaN unless there are both."""
    others = cuts.accepted - cuts.similar
    farther = cuts.num_others[..., None] - others
    tied = np.diff(others, prepend=0)
    won = (np.diff(cuts.similar, prepend=0) * (farther + tied / 2)).sum(axis=-1)
    return ratio(won, np.multiply(cuts.num_similar, cuts.num_others, dtype=np.float64))


def highest_f1(cuts: Cuts) -> np.ndarray:
    """Returns [...] the highest F1 of any cut; NaN if none is similar."""
    similar = cuts.num_similar
    f1s = 2 * cuts.similar / np.maximum(cuts.accepted + similar[..., None], 1)
    return np.where(similar > 0, f1s.max(axis=-1, initial=0), np.nan)


def highest_recall(cuts: Cuts, *, precision: float) -> np.ndarray:
    """Returns [...] the highest recall of the cuts that are as precise; 0 if none is.

    NaN if none is similar.
    """
    precise = np.where(cuts.precision >= precision, cuts.similar, 0)
    return ratio(precise.max(axis=-1, initial=0), cuts.num_similar)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Returns part / whole as float64; NaN where the whole is 0."""
    known = np.where(whole != 0, whole, np.nan)
    return np.asarray(part / known, np.float64)


def _last(rising: np.ndarray) -> np.ndarray:
    return rising[..., -1] if rising.shape[-1] else np.zeros(rising.shape[:-1])
