"""Pairs of rows as one number each, by which they are sorted, counted and found."""

from __future__ import annotations

import numpy as np


def pair_codes(firsts: np.ndarray, seconds: np.ndarray, *, n: int) -> np.ndarray:
    """Returns [E] int64, one number a pair; the order of its two rows is all one.

    The smaller row is the code // n, the larger one the code % n.

    Args:
        firsts: [E] int rows below n.
        seconds: [E] int rows below n.
        n: the number of products.
    """
    low, high = np.minimum(firsts, seconds), np.maximum(firsts, seconds)
    return low.astype(np.int64) * n + high


def is_mutual(starts: np.ndarray, ends: np.ndarray, *, n: int) -> np.ndarray:
    """Returns [E] bool: whether the edge stands there in the other direction, too.

    Args:
        starts: [E] int64 rows below n.
        ends: [E] int64 rows below n.
        n: the number of products.
    """
    return np.isin(ends * n + starts, starts * n + ends)
