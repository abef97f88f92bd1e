"""Negatives drawn at random, within a category or from the whole catalogue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs
from simprod_tf.negatives.guards import (
    Guards,
    Negatives,
    allowed_rows,
    guards_of,
    negative_pairs,
    pair_numbers,
    text_keys,
)

TWICE = "drawn twice"
# Small categories run out of new pairs: then no more is drawn.
_MAX_ROUNDS = 20


def random_negatives(
    catalog: Catalog,
    column: str | None = None,
    *,
    num_pairs: int,
    positives: Pairs,
    near: np.ndarray | None = None,
    ids_allowed: Sequence[str] | np.ndarray | None = None,
    weight: float = 1.0,
    seed: int = 0,
) -> Negatives:
    """Returns random pairs that are not known to be similar, as negatives.

    Within a category they are harder than any two products, and less often similar
    unknown to us than the nearest ones. The guards are those of `guards_of`.

    Args:
        catalog: The products.
        column: Whose value both products share (the category, say); products without
            one take no part. None for any two products.
        num_pairs: How many; fewer come where there are not so many.
        positives: The labelled pairs, with ids of the catalogue.
        near: [P] int64 component of near-duplicate pictures, -1 for none; or None.
        ids_allowed: Only among these (the training side); None for all.
        weight: Of each pair.
        seed: The same seed gives the same pairs.

    Raises:
        ValueError: no two products share a value, or a number is out of its range.
        KeyError: there is no such column; the message names those there are.
    """
    if num_pairs < 1 or not weight > 0:
        raise ValueError(
            f"num_pairs must be at least 1 and weight above 0, got {num_pairs} and "
            f"{weight}."
        )
    rng = np.random.default_rng(seed)
    guards = guards_of(catalog, positives, near)
    keys = np.zeros(len(catalog), np.int64)
    if column is not None:
        keys = text_keys(catalog.column(column))
    rows = _with_a_fellow(allowed_rows(catalog, ids_allowed), keys)
    if not len(rows):
        where = f"share a {column!r}" if column else "are there"
        raise ValueError(f"no two products {where}.")
    dropped: Counter[str] = Counter()
    found = np.zeros((0, 2), np.int64)
    for _ in range(_MAX_ROUNDS):
        drawn = _drawn(rows, keys, num_pairs, rng)
        found = np.concatenate([found, _passing(drawn, guards, dropped)])
        numbers = pair_numbers(found[:, 0], found[:, 1], len(catalog))
        once = np.sort(np.unique(numbers, return_index=True)[1])
        dropped[TWICE] += len(found) - len(once)
        found = found[once]
        if len(found) >= num_pairs:
            break
    anchors, others = found[:num_pairs].T
    pairs = negative_pairs(catalog, anchors, others, weight)
    return Negatives(pairs, {why: n for why, n in dropped.items() if n})


def _with_a_fellow(rows: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Returns those of the rows whose key another of them has, in order of the keys."""
    rows = rows[keys[rows] >= 0]
    rows = rows[np.argsort(keys[rows], kind="stable")]
    sizes = np.bincount(keys[rows]) if len(rows) else np.zeros(1, np.int64)
    return rows[sizes[keys[rows]] > 1]


def _drawn(
    rows: np.ndarray, keys: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns [count, 2] rows: a product, and another one of the same key.

    Args:
        rows: [A] int64 in order of their keys, none alone.
        keys: [P] int64.
        count: How many pairs.
        rng: Of the draw.
    """
    own = keys[rows]
    first = np.searchsorted(own, own)
    size = np.searchsorted(own, own, side="right") - first
    anchors = rng.integers(len(rows), size=count)
    steps = rng.integers(1, size[anchors])
    others = first[anchors] + (anchors - first[anchors] + steps) % size[anchors]
    return np.stack([rows[anchors], rows[others]], axis=1)


def _passing(drawn: np.ndarray, guards: Guards, dropped: Counter[str]) -> np.ndarray:
    """Returns those of [N, 2] pairs that no guard forbids, and counts the others."""
    kept = np.ones(len(drawn), bool)
    for reason, forbidden in guards.reasons(*drawn.T).items():
        dropped[reason] += int(np.count_nonzero(kept & forbidden))
        kept &= ~forbidden
    return drawn[kept]
