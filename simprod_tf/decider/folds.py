"""Which fold a pair is of: by its ids, so that it is the same wherever they stand."""

from __future__ import annotations

import zlib

import numpy as np


def pair_folds(
    ids: np.ndarray, ends: np.ndarray, *, folds: int, tables: np.ndarray | None = None
) -> np.ndarray:
    """Returns [E] int64, the fold of each pair: that of one of its products.

    All pairs of this product are of one fold. It is the one of the first table, by
    name, or without tables the one whose id comes first.

    Args:
        ids: [N] str of the products.
        ends: [E, 2] rows.
        folds: how many there are.
        tables: [N] str, or None.
    """
    numbers = np.array([zlib.crc32(str(id).encode()) % folds for id in ids], np.int64)
    ranks = np.unique(np.asarray(ids, str), return_inverse=True)[1]
    if tables is not None:
        by_table = np.unique(tables, return_inverse=True)[1]
        ranks = by_table * len(ids) + ranks
    first = np.where(ranks[ends[:, 0]] <= ranks[ends[:, 1]], ends[:, 0], ends[:, 1])
    return numbers[first]
