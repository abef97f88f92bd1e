"""Labelled pairs drawn from the catalogue's own groups of the same product."""

from __future__ import annotations

import numpy as np

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs, canonical_pairs


def draw_group_pairs(
    catalog: Catalog,
    *,
    num_pairs: int = 10_000,
    near_column: str | None = None,
    seed: int = 0,
) -> Pairs:
    """Returns about `num_pairs` pairs: half of them similar (the same group).

    Of the others half share `near_column` (say the category) but not the group, where
    one is given; the rest are random. Groups are drawn before products, so that a
    large group does not outweigh the others. Products without a group take no part.

    Raises:
        ValueError: no group has two products, or there is only one group.
    """
    rng = np.random.default_rng(seed)
    rows_of = _rows_by(catalog.groups)
    large = [rows for rows in rows_of.values() if len(rows) > 1]
    if not large or len(rows_of) < 2:
        raise ValueError("drawing pairs takes two groups, one with two products.")
    half = num_pairs // 2
    positives = [_two(rng, large[i]) for i in rng.integers(len(large), size=half)]
    grouped = np.flatnonzero(catalog.groups != "")
    near = catalog.column(near_column) if near_column else None
    near_rows = _rows_by(near, among=grouped) if near is not None else {}
    negatives = []
    for draw in range(half):
        anchor = int(rng.choice(grouped))
        # Every second negative is a near one.
        pool = near_rows.get(near[anchor]) if near is not None and draw % 2 else None
        other = int(rng.choice(grouped if pool is None else pool))
        if catalog.groups[anchor] != catalog.groups[other]:
            negatives.append((anchor, other))
    rows = np.array(positives + negatives, np.int64)
    labels = np.repeat([1, 0], [len(positives), len(negatives)])
    return canonical_pairs(catalog.ids[rows[:, 0]], catalog.ids[rows[:, 1]], labels)


def _two(rng: np.random.Generator, rows: np.ndarray) -> tuple[int, int]:
    first, second = rng.choice(rows, size=2, replace=False)
    return int(first), int(second)


def _rows_by(
    keys: np.ndarray, among: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Returns the rows of each key; rows without one ("") are left out."""
    rows: dict[str, list[int]] = {}
    for row in range(len(keys)) if among is None else among:
        if keys[row]:
            rows.setdefault(keys[row], []).append(int(row))
    return {key: np.array(found, np.int64) for key, found in rows.items()}
