"""tf.data: batches of unique products with all labelled pairs among them.

One call of the encoder serves every pair of a batch, where twin pairs take two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.sparse import coo_matrix, csr_matrix

from simprod_tf.data.catalog import Catalog
from simprod_tf.features.augment import AugmentSettings
from simprod_tf.features.batch_dataset import (
    ORDER,
    Drawn,
    batch_dataset,
    require_at_least,
)
from simprod_tf.features.batches import PairsNow, RowPairs, pairs_by_row
from simprod_tf.features.epoch_clock import EpochClock, each_pass


def unique_batches(
    arrays: Mapping[str, Any],
    catalog: Catalog,
    pairs: PairsNow,
    *,
    batch_size: int = 256,
    training: bool = False,
    seed: int = 0,
    clock: EpochClock | None = None,
    shard: tuple[int, int] = (0, 1),
    balanced: bool = True,
    augment: AugmentSettings | None = None,
) -> tf.data.Dataset:
    """Returns batches of (inputs, label, weight) of different products.

    Products come in random order (in training), each with its pairs, until the batch
    is full; then all labelled pairs among its products count, those drawn elsewhere
    too. With `training=False` every pair is in a batch of each pass, some in more than
    one. In training a pass has always as many batches as the first epoch's pairs fill,
    because Keras expects it; where a pass's order takes more, its last pairs wait for
    the next pass, and where it takes fewer, the order begins anew.

    Args:
        arrays, catalog, pairs: See `pair_batches`.
        seed, clock, shard, augment: See there too.
        batch_size: Products in a batch, at most; often one less, since pairs bring two.
        training: New order each pass, and pictures (`..._pixels`) changed at random.
        balanced: Whether the similar and the dissimilar entries of a batch weigh half
            each, where it has both.

    Returns:
        inputs: By the encoder's own names, [B, ...].
        label: [B, B] float32, symmetric, 1 = similar.
        weight: [B, B] float32, symmetric, 0 where no label is known and on the
            diagonal; its mean is 1.

    Raises:
        ValueError: there is no pair, or one twice, or a number is out of its range.
    """
    require_at_least(2, batch_size=batch_size)
    now = pairs_by_row(catalog, pairs)
    table_of = lru_cache(maxsize=1)(lambda current: _table(current, len(catalog)))

    def draw(rng: np.random.Generator | None) -> Iterator[Drawn]:
        current = now()
        order = _neighbourhoods(current.rows, rng)
        table = table_of(current)
        yield from _drawn(current, order, table, batch_size, balanced=balanced)

    first = EpochClock(seed if clock is None else clock.seed).rng(ORDER)
    order = _neighbourhoods(now().rows, first if training else None)
    filled = _filled(now().rows, order, table_of(now()), batch_size)
    return batch_dataset(
        arrays,
        draw,
        num_products=len(catalog),
        num_batches=sum(1 for _ in filled),
        like=Drawn({"": order}, np.zeros((0, 0), np.float32), np.zeros((0, 0))),
        training=training,
        begin=each_pass(seed, clock),
        shard=shard,
        augment=augment,
    )


def block_batches(
    pairs: RowPairs, rng: np.random.Generator, *, batch_size: int, balanced: bool = True
) -> Iterator[Drawn]:
    """Yields the batches of some pairs once, in random order: see `unique_batches`.

    Args:
        pairs: Rows from 0 on, nearly all of them in use; each pair once.
        rng: Of the order.
        batch_size, balanced: See there.
    """
    order = _neighbourhoods(pairs.rows, rng)
    table = _table(pairs, int(pairs.rows.max()) + 1)
    yield from _drawn(pairs, order, table, batch_size, balanced=balanced)


def scaled(label: np.ndarray, weight: np.ndarray, *, balanced: bool) -> np.ndarray:
    """Returns [B, B] float32 weights whose mean is 1 (0 where all are 0).

    Args:
        label: [B, B], 1 = similar.
        weight: [B, B], at least 0.
        balanced: Whether similar and dissimilar entries weigh half each.
    """
    similar = label > 0
    kinds = [similar, ~similar] if balanced else [np.ones_like(similar)]
    sums = [float(weight[kind].sum()) for kind in kinds]
    there = sum(total > 0 for total in sums)
    found = np.zeros(weight.shape, np.float32)
    for kind, total in zip(kinds, sums):
        if total > 0:
            found[kind] = weight[kind] * (weight.size / (there * total))
    return found


def _table(pairs: RowPairs, num_products: int) -> csr_matrix:
    """Returns [P, P], symmetric: 1 + the number of the pair, 0 where there is none."""
    anchors, others = pairs.rows.T
    numbers = np.arange(1, len(pairs.rows) + 1)
    ends = np.r_[anchors, others], np.r_[others, anchors]
    table = coo_matrix((np.r_[numbers, numbers], ends), (num_products,) * 2).tocsr()
    if table.nnz < 2 * len(numbers):
        raise ValueError("a pair stands there twice; put pairs together by join_pairs.")
    return table


def _neighbourhoods(rows: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
    """Returns the [N] order of pairs in which products come one after the other.

    A pair comes with the earlier of its products: batches are then denser than with
    pairs in plain random order, since a product's pairs share it.
    """
    size = rows.max() + 1
    place = np.arange(size) if rng is None else rng.permutation(size)
    places = place[rows]
    return np.lexsort((places.max(axis=1), places.min(axis=1)))


def _filled(
    rows: np.ndarray, order: np.ndarray, table: csr_matrix, batch_size: int
) -> Iterator[tuple[np.ndarray, coo_matrix]]:
    """Yields the [B] rows of each batch, and what of the table lies among them.

    Pairs that lie in an earlier batch are passed over.
    """
    covered = np.zeros(len(rows), bool)
    at, window = 0, batch_size
    while at < len(order):
        ahead = order[at : at + window]
        fresh = np.flatnonzero(~covered[ahead])
        ends = rows[ahead[fresh]].ravel()
        distinct, first = np.unique(ends, return_index=True)
        if len(distinct) > batch_size:
            # The pair that brings one product too many begins the next batch.
            last = np.sort(first)[batch_size] // 2
            distinct = np.unique(ends[: 2 * last])
            at += fresh[last]
        elif at + window < len(order):
            window *= 2
            continue
        else:
            at = len(order)
        if len(distinct):
            among = table[distinct][:, distinct].tocoo()
            covered[among.data - 1] = True
            yield distinct, among
        window = max(batch_size, window // 2)


def _drawn(
    pairs: RowPairs,
    order: np.ndarray,
    table: csr_matrix,
    batch_size: int,
    *,
    balanced: bool,
) -> Iterator[Drawn]:
    for rows, among in _filled(pairs.rows, order, table, batch_size):
        label, weight = _matrices(pairs, among, balanced=balanced)
        yield Drawn({"": rows}, label, weight)


def _matrices(
    pairs: RowPairs, among: coo_matrix, *, balanced: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns [B, B] float32 labels and weights."""
    label = np.zeros(among.shape, np.float32)
    weight = np.zeros(among.shape, np.float32)
    label[among.row, among.col] = pairs.labels[among.data - 1]
    weight[among.row, among.col] = pairs.weights[among.data - 1]
    return label, scaled(label, weight, balanced=balanced)
