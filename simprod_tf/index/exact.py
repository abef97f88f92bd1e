"""ExactIndex: compares every query with every product, in numpy; the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simprod_tf.index.answer import Drift
from simprod_tf.index.base import Index
from simprod_tf.index.folder import Stored
from simprod_tf.index.rows import Change
from simprod_tf.index.tuning import Tuning
from simprod_tf.index.vectors import Neighbours, nearest_rows


class ExactIndex(Index):
    """Finds the k nearest products for certain; linear in the catalogue's size.

    Beside the embeddings it needs about 60 MB whatever the number of queries, and never
    over 600 MB, which it takes to order 8 million products that are all the same; above
    8 million products, 4 bytes a product and 75. Equal distances are ordered by row, so
    that every run gives the same answer.
    """

    kind = "exact"

    @property
    def is_exact(self) -> bool:
        """Always true."""
        return True

    @classmethod
    def _made(cls, stored: Stored, tuning: Tuning) -> ExactIndex:
        return cls(stored)

    @classmethod
    def _opened(cls, stored: Stored, folder: Path) -> ExactIndex:
        return cls(stored)

    def _nearest(self, queries: np.ndarray, k: int) -> Neighbours:
        return nearest_rows(queries, self._rows.embeddings, k=k)

    def _took_in(self, change: Change, vectors: np.ndarray) -> None:
        """The embeddings are all that is searched."""

    def _let_go(self, rows: Sequence[int]) -> None:
        """The embeddings are all that is searched."""

    def _train_anew(self) -> None:
        """There is nothing to train."""

    def drift(self) -> Drift:
        """Returns that nothing is missed."""
        changed = self._rows.changed
        share = float(changed.mean()) if len(changed) else 0.0
        return Drift(share, recall=1.0, recall_of_changed=1.0, wanted=1.0)

    def _write_searcher(self, folder: Path) -> None:
        """Ids and embeddings are all that an exact search needs."""
