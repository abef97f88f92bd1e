"""The candidates of a whole catalogue as a graph, held: what a pair decider works on.

A decider looks at a pair among its rivals, so that all candidates of all products must
be known before any of them is decided upon. Neighbours are therefore searched once and
kept, k int32 a product and view; each pair of the graph is decided upon once, whatever
its direction, and keeps 12 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from simprod_tf.matching.keys import KeyGroups
from simprod_tf.matching.pair_code import pair_codes
from simprod_tf.matching.views import Views

Progress = Callable[[int, int], None]
# Gives [C] float32 distances of the pairs of two [C] rows.
PairDistances = Callable[[np.ndarray, np.ndarray], np.ndarray]
_BLOCK = 8192
# Pairs that are decided upon at once.
_BLOCK_PAIRS = 1 << 17


@dataclass(frozen=True, eq=False)
class ListedView:
    """A view whose neighbours are listed.

    Attributes:
        neighbours: [N, K] int32 rows, nearest first, -1 where there are fewer.
        pair_distances: gives the distances of pairs.
    """

    neighbours: np.ndarray
    pair_distances: PairDistances

    def nearest(self, rows: np.ndarray, *, k: int) -> np.ndarray:
        """Returns [len(rows), k] int32, -1 where fewer are listed."""
        nearest = np.full((len(rows), k), -1, np.int32)
        listed = self.neighbours[rows, :k]
        nearest[:, : listed.shape[1]] = listed
        return nearest

    def distances(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Returns [C] float32 distances."""
        return self.pair_distances(starts, ends)


def listed_views(
    views: Views,
    *,
    k: int,
    tables: np.ndarray | None = None,
    progress: Progress | None = None,
) -> Views:
    """Returns the same views, with the k neighbours of every product held.

    Args:
        views: of N products.
        k: neighbours in each view; no more can be asked for afterwards.
        tables: [N]; of the k neighbours those of the product's own table are dropped.
        progress: called with (products searched, products in all).
    """
    lists = {name: np.full((len(views), k), -1, np.int32) for name in views.names}
    for start in range(0, len(views), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(views)))
        for name, held in lists.items():
            found = views.nearest(name, rows, k=k)
            if tables is not None:
                found[tables[found] == tables[rows, None]] = -1
            held[rows] = found
        if progress is not None:
            progress(int(rows[-1]) + 1, len(views))
    return views.replaced(
        {
            name: ListedView(held, partial(views.distances, name))
            for name, held in lists.items()
        }
    )


def candidate_edges(
    views: Views,
    *,
    k: int,
    keys: KeyGroups | None = None,
    tables: np.ndarray | None = None,
) -> np.ndarray:
    """Returns [E, 2] int32: every pair that a view or a key proposes, once.

    Args:
        views: `listed_views`, or each product is searched again.
        k: neighbours in each view.
        keys: exact keys of the products, in the views' rows.
        tables: [N]; pairs within one table are left out.
    """
    n, found = len(views), [np.empty(0, np.int64)]
    for start in range(0, n, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, n))
        codes = []
        for name in views.names:
            ends = views.nearest(name, rows, k=k)
            lines, columns = np.nonzero(ends >= 0)
            codes.append(pair_codes(rows[lines], ends[lines, columns], n=n))
        if keys is not None:
            for lines, others in (keys.partners(kind, rows) for kind in keys.kinds):
                codes.append(pair_codes(rows[lines], others, n=n))
        found.append(np.unique(np.concatenate(codes)))
    low, high = np.divmod(np.unique(np.concatenate(found)), max(n, 1))
    if tables is not None:
        apart = tables[low] != tables[high]
        low, high = low[apart], high[apart]
    return np.stack([low, high], axis=1).astype(np.int32)


class HeldDistances:
    """Distances of pairs, each asked for once and held: 12 bytes a pair."""

    def __init__(
        self,
        edges: np.ndarray,
        ask: PairDistances,
        *,
        num_products: int,
        progress: Progress | None = None,
    ) -> None:
        """Asks for the distances of all edges, block by block.

        Args:
            edges: [E, 2] rows, each pair once.
            ask: gives the distances; pairs that are no edge are asked for when needed.
            num_products: rows are below it.
            progress: called with (pairs done, pairs in all).
        """
        self._n, self._ask = num_products, ask
        self._codes = np.unique(pair_codes(edges[:, 0], edges[:, 1], n=num_products))
        self._distances = self._asked(self._codes, progress)

    def __call__(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Returns [C] float32 distances, the same in both directions."""
        codes, which = np.unique(
            pair_codes(starts, ends, n=self._n), return_inverse=True
        )
        distances = np.empty(len(codes), np.float32)
        held = np.isin(codes, self._codes)
        at = np.searchsorted(self._codes, codes[held])
        distances[held] = self._distances[at]
        distances[~held] = self._asked(codes[~held], None)
        return distances[which]

    def _asked(self, codes: np.ndarray, progress: Progress | None) -> np.ndarray:
        distances = np.empty(len(codes), np.float32)
        for start in range(0, len(codes), _BLOCK_PAIRS):
            part = slice(start, start + _BLOCK_PAIRS)
            distances[part] = self._ask(*np.divmod(codes[part], self._n))
            if progress is not None:
                progress(min(start + _BLOCK_PAIRS, len(codes)), len(codes))
        return distances
