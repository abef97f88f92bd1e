"""What the decision does with labelled pairs, while the candidates stream past."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simprod_tf.matching.candidates import Candidates
from simprod_tf.matching.rule import Decided


@dataclass(frozen=True)
class Outcome:
    """The decision on labelled pairs; one that is no candidate counts as different.

    Attributes:
        num_pairs: labelled pairs.
        num_similar: those that are similar.
        num_accepted: those that were decided to be, in one direction at least.
        num_hits: those that are both.
    """

    num_pairs: int
    num_similar: int
    num_accepted: int
    num_hits: int

    @property
    def precision(self) -> float:
        """Share of the accepted pairs that are similar; NaN for none."""
        return _share(self.num_hits, self.num_accepted)

    @property
    def recall(self) -> float:
        """Share of the similar pairs that are accepted; NaN for none."""
        return _share(self.num_hits, self.num_similar)


class OutcomeCounter:
    """Counts decisions on labelled pairs, block by block."""

    def __init__(
        self, pairs: np.ndarray, labels: np.ndarray, *, num_products: int
    ) -> None:
        """Takes the labelled pairs.

        Args:
            pairs: [P, 2] int64 rows of the views, each pair there once.
            labels: [P], 1 = similar, 0 = not.
            num_products: rows are below it.
        """
        self._width = num_products
        codes = self._coded(pairs[:, 0], pairs[:, 1])
        order = np.argsort(codes)
        self._codes, self._similar = codes[order], np.asarray(labels)[order] == 1
        self._accepted = np.zeros(len(codes), bool)

    def add(self, candidates: Candidates, decided: Decided) -> None:
        """Counts one block."""
        kept = decided.similar
        codes = self._coded(candidates.starts[kept], candidates.ends[kept])
        self._accepted |= np.isin(self._codes, codes)

    def outcome(self) -> Outcome:
        """Returns what was counted so far."""
        return Outcome(
            num_pairs=len(self._codes),
            num_similar=int(self._similar.sum()),
            num_accepted=int(self._accepted.sum()),
            num_hits=int((self._accepted & self._similar).sum()),
        )

    def _coded(self, firsts: np.ndarray, seconds: np.ndarray) -> np.ndarray:
        low, high = np.minimum(firsts, seconds), np.maximum(firsts, seconds)
        return low.astype(np.int64) * self._width + high


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
