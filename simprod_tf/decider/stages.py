"""The two stages of a decider, and the scores that they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from simprod_tf.decider.boosting import Boosting
from simprod_tf.decider.evidence import PreparedProducts, TokenOdds, Vocabulary
from simprod_tf.decider.features import BLOCK, PlainFeatures, odds_rows

Progress = Callable[[int, int], None]
# Features of a graph are kept up to this size; those of a larger one are made twice.
_MOST_KEPT = 1 << 30


@dataclass(frozen=True, eq=False)
class Stages:
    """What was learned.

    Attributes:
        vocabulary: how often words stand in the catalogue that it was learned on.
        odds: of words, one a fold, learned from the other folds' pairs.
        first: the first stage, one a fold, likewise.
        second: the second stage.
    """

    vocabulary: Vocabulary
    odds: tuple[TokenOdds, ...]
    first: tuple[Boosting, ...]
    second: Boosting


class FirstFeatures:
    """The first stage's features of a graph's pairs, kept where memory allows."""

    def __init__(
        self, plain: PlainFeatures, odds: Sequence[TokenOdds], folds: np.ndarray
    ) -> None:
        """Takes [E] `folds` of the pairs."""
        self.plain, self.odds, self.folds = plain, tuple(odds), folds
        self._kept: np.ndarray | None = None

    @property
    def prepared(self) -> PreparedProducts:
        """The products' texts."""
        return self.plain.prepared

    def rows(self, pairs: np.ndarray) -> np.ndarray:
        """Returns [P, F] float32 of the pairs in these rows of the graph."""
        if self._kept is not None:
            return self._kept[pairs]
        ends = self.plain.graph.ends[pairs]
        odds = odds_rows(self.prepared, self.odds, ends, self.folds[pairs])
        return np.concatenate([self.plain.rows(pairs), odds], axis=1)

    def blocks(
        self, progress: Progress | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields rows of the graph, and their features, and keeps these if it can."""
        number, kept = len(self.plain.graph), None
        for pairs in blocks(number):
            found = self.rows(pairs)
            if kept is None and number * found.shape[1] * 4 <= _MOST_KEPT:
                kept = np.empty((number, found.shape[1]), np.float32)
            if kept is not None:
                kept[pairs] = found
            yield pairs, found
            if progress is not None:
                progress(int(pairs[-1]) + 1, number)
        self._kept = kept


def first_log_odds(
    features: FirstFeatures, first: Sequence[Boosting], progress: Progress | None
) -> np.ndarray:
    """Returns [E] float64: of each pair by the model that did not see its fold."""
    found = np.zeros(len(features.plain.graph))
    for pairs, rows in features.blocks(progress):
        folds = features.folds[pairs]
        for fold, one in enumerate(first):
            of_it = np.flatnonzero(folds == fold)
            found[pairs[of_it]] = one.log_odds(rows[of_it])
    return found


def blocks(number: int) -> Iterator[np.ndarray]:
    """Yields the numbers from 0 in blocks."""
    for first in range(0, number, BLOCK):
        yield np.arange(first, min(first + BLOCK, number))
