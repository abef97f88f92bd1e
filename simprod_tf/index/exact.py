"""ExactIndex: compares every query with every product, in numpy; the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from simprod_tf.index.base import Index
from simprod_tf.index.folder import Stored
from simprod_tf.index.vectors import DOT_MARGIN

# Dot products held at once: 32 MB.
_BLOCK_SCORES = 1 << 23
_MIN_GROUPS = 1024


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
    def _made(cls, stored: Stored) -> ExactIndex:
        return cls(stored)

    @classmethod
    def _opened(cls, stored: Stored, folder: Path) -> ExactIndex:
        return cls(stored)

    def _write_searcher(self, folder: Path) -> None:
        """Ids and embeddings are all that an exact search needs."""

    def _query_block(self, k: int) -> int:
        return max(1, _BLOCK_SCORES // len(self))

    def _candidates(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        dots = queries @ self._stored.embeddings.T
        # The margin keeps all that may be as near as the k-th: ties are then broken
        # by row, not by the order in which the matrix product rounded.
        lowest = _bound(dots, k) - np.float32(DOT_MARGIN)
        lines, rows = np.nonzero(dots >= lowest[:, None])
        return lines, rows


def _bound(dots: np.ndarray, k: int) -> np.ndarray:
    """Returns [Q] bounds, each at most the k-th largest of its line of [Q, N] dots.

    The k-th largest of a few group maxima is such a bound, a close one, and costs a
    tenth of a partial sort of the line. A group's rows lie far apart, since a
    catalogue's neighbouring rows are often alike.
    """
    num_groups = min(dots.shape[1], max(_MIN_GROUPS, 16 * k))
    depth = dots.shape[1] // num_groups
    groups = dots[:, : depth * num_groups].reshape(len(dots), depth, num_groups)
    best = groups.max(axis=1)
    return np.partition(best, num_groups - k, axis=1)[:, num_groups - k]
