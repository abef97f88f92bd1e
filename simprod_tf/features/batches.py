"""tf.data: batches of labelled pairs of products, each pair twin inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Union

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs
from simprod_tf.features.augment import AugmentSettings
from simprod_tf.features.batch_dataset import Drawn, batch_dataset, require_at_least
from simprod_tf.features.epoch_clock import EpochClock, each_pass

PairsNow = Union[Pairs, Callable[[], Pairs]]


@dataclass(frozen=True, eq=False)
class RowPairs:
    """Pairs as rows of a catalogue.

    Attributes:
        rows: [N, 2] int64.
        labels, weights: [N] float32.
    """

    rows: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def pair_batches(
    arrays: Mapping[str, Any],
    catalog: Catalog,
    pairs: PairsNow,
    *,
    batch_size: int = 128,
    training: bool = False,
    seed: int = 0,
    clock: EpochClock | None = None,
    shard: tuple[int, int] = (0, 1),
    augment: AugmentSettings | None = None,
) -> tf.data.Dataset:
    """Returns batches of (inputs, label, weight) for the Siamese model.

    Args:
        arrays: The encoder's inputs by name, each [P, ...], in the catalogue's order:
            numpy arrays, or what gathers its rows from files when indexed.
        catalog: Whose rows the arrays follow.
        pairs: The pairs, all their ids in the catalogue; or what gives those of the
            pass that begins. A pass has as many batches as the pairs of now make, since
            Keras counts those of the first pass: of more pairs later some wait.
        batch_size: Pairs in a batch; the last batch of a pass may be smaller.
        training: New order each pass, and pictures (`..._pixels`) changed at random.
        seed: Of that order and those changes, where there is no clock.
        clock: Whose (seed, epoch) they depend on; without one passes are counted.
        shard: (index, count): every count-th batch, for one of `count` workers. All
            get equally many: up to count - 1 batches at a pass's end are left out.
        augment: How pictures are changed.

    Returns:
        inputs: `anchor_<name>` and `other_<name>`, [B, ...]; pictures and what is
            float16 come as float32.
        label: [B, 1] float32. weight: [B] float32.

    Raises:
        ValueError: there is no pair, or a number is out of its range.
    """
    require_at_least(1, batch_size=batch_size)
    now = pairs_by_row(catalog, pairs)

    def draw(rng: np.random.Generator | None) -> Iterator[Drawn]:
        current = now()
        size = len(current.rows)
        order = np.arange(size) if rng is None else rng.permutation(size)
        for start in range(0, size, batch_size):
            some = order[start : start + batch_size]
            anchors, others = current.rows[some].T
            yield Drawn(
                {"anchor_": anchors, "other_": others},
                current.labels[some, np.newaxis],
                current.weights[some],
            )

    return batch_dataset(
        arrays,
        draw,
        num_products=len(catalog),
        num_batches=-(-len(now().rows) // batch_size),
        like=next(draw(None)),
        training=training,
        begin=each_pass(seed, clock),
        shard=shard,
        augment=augment,
    )


def pairs_by_row(catalog: Catalog, pairs: PairsNow) -> Callable[[], RowPairs]:
    """Returns what gives the pairs of now as rows; it looks the same ones up once."""

    @lru_cache(maxsize=1)
    def by_row(current: Pairs) -> RowPairs:
        if not len(current):
            raise ValueError("there is no pair to make batches of.")
        anchors = catalog.rows_of(current.anchor_ids)
        others = catalog.rows_of(current.other_ids)
        return RowPairs(
            np.stack([anchors, others], axis=1),
            current.labels.astype(np.float32),
            current.weights.astype(np.float32),
        )

    return lambda: by_row(pairs() if callable(pairs) else pairs)
