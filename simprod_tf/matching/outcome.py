"""What the decision does with labelled pairs, while the candidates stream past."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simprod_tf.matching.candidate_recall import share_of
from simprod_tf.matching.candidates import Candidates
from simprod_tf.matching.pair_code import pair_codes
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
        return share_of(self.num_hits, self.num_accepted)

    @property
    def recall(self) -> float:
        """Share of the similar pairs that are accepted; NaN for none."""
        return share_of(self.num_hits, self.num_similar)


class VetoCounter:
    """Counts the candidates that would be similar but for a veto."""

    def __init__(self) -> None:
        """Begins at none."""
        self.num_vetoed = 0

    def add(self, candidates: Candidates, decided: Decided) -> None:
        """Counts one block."""
        self.num_vetoed += int(decided.vetoed.sum())


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
        self._num_products = num_products
        codes = pair_codes(pairs[:, 0], pairs[:, 1], n=num_products)
        order = np.argsort(codes)
        self._codes, self._similar = codes[order], np.asarray(labels)[order] == 1
        self._accepted = np.zeros(len(codes), bool)

    def add(self, candidates: Candidates, decided: Decided) -> None:
        """Counts one block."""
        kept = decided.similar
        codes = pair_codes(
            candidates.starts[kept], candidates.ends[kept], n=self._num_products
        )
        self._accepted |= np.isin(self._codes, codes)

    def outcome(self) -> Outcome:
        """Returns what was counted so far."""
        return Outcome(
            num_pairs=len(self._codes),
            num_similar=int(self._similar.sum()),
            num_accepted=int(self._accepted.sum()),
            num_hits=int((self._accepted & self._similar).sum()),
        )
