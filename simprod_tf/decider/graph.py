"""The candidate pairs of all products as one graph without directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class PairGraph:
    """Candidate pairs, each once, and for every product those that it stands in.

    Attributes:
        num_products: N; products are rows from 0.
        ends: [E, 2] int64, the smaller row first; sorted.
        offsets: [N + 1] int64; product p stands in places offsets[p]:offsets[p + 1] of
            `pairs` and `others`.
        pairs: [2 E] int64, rows of `ends`, by product.
        others: [2 E] int64, the other product of each.
    """

    num_products: int
    ends: np.ndarray
    offsets: np.ndarray
    pairs: np.ndarray
    others: np.ndarray

    @classmethod
    def of(
        cls,
        num_products: int,
        proposed: Sequence[np.ndarray],
        tables: np.ndarray | None = None,
    ) -> PairGraph:
        """Returns the graph of all proposed pairs.

        Args:
            num_products: N.
            proposed: arrays of [C, 2] rows, in any order, some of them more than once.
                A product with itself is left out.
            tables: [N]; pairs within a table are left out. None: none are.
        """
        both = [np.asarray(one, np.int64).reshape(-1, 2) for one in proposed]
        found = np.concatenate([np.zeros((0, 2), np.int64), *both])
        if found.size and not (0 <= found.min() and found.max() < num_products):
            raise ValueError(f"Pairs must be rows from 0 to {num_products - 1}.")
        codes = np.unique(_codes(found[:, 0], found[:, 1], num_products))
        ends = np.stack(np.divmod(codes, max(num_products, 1)), axis=1)
        kept = ends[:, 0] != ends[:, 1]
        if tables is not None:
            numbers = np.unique(tables, return_inverse=True)[1]
            kept &= numbers[ends[:, 0]] != numbers[ends[:, 1]]
        return cls._listed(num_products, ends[kept])

    @classmethod
    def _listed(cls, num_products: int, ends: np.ndarray) -> PairGraph:
        products = ends.T.ravel()
        order = np.argsort(products, kind="stable")
        counts = np.bincount(products, minlength=num_products)
        return cls(
            num_products,
            ends,
            np.concatenate([[0], np.cumsum(counts)]),
            np.tile(np.arange(len(ends)), 2)[order],
            ends[:, ::-1].T.ravel()[order],
        )

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def owners(self) -> np.ndarray:
        """[2 E] int64: the product that each place of `pairs` belongs to."""
        return np.repeat(np.arange(self.num_products), np.diff(self.offsets))

    def find(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Returns [P] int64, the row in `ends` of each pair, -1 where it is none."""
        codes, known = _codes(starts, ends, self.num_products), self._known
        if not len(known):
            return np.full(len(codes), -1)
        places = np.minimum(known.searchsorted(codes), len(known) - 1)
        return np.where(known[places] == codes, places, -1)

    @cached_property
    def _known(self) -> np.ndarray:
        """[E] int64: one number a pair, ascending."""
        return _codes(self.ends[:, 0], self.ends[:, 1], self.num_products)


def _codes(starts: np.ndarray, ends: np.ndarray, num_products: int) -> np.ndarray:
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    return np.asarray(low, np.int64) * num_products + np.asarray(high, np.int64)
