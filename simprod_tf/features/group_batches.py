"""tf.data: batches of groups of the same product, for losses that take classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.components import similar_components
from simprod_tf.data.pairs import Pairs
from simprod_tf.features.augment import AugmentSettings
from simprod_tf.features.batch_dataset import Drawn, batch_dataset, require_at_least
from simprod_tf.features.epoch_clock import EpochClock, each_pass


def product_classes(
    catalog: Catalog,
    pairs: Pairs | None = None,
    *,
    ids: Sequence[str] | np.ndarray | None = None,
) -> np.ndarray:
    """Returns the [P] int64 class of each product, 0 to C - 1; -1 where it is alone.

    Args:
        catalog: A class is a group of it.
        pairs: A class is what hangs together by similar ones of these instead.
        ids: The products that take part (those to train on); all by default.

    Raises:
        ValueError: no two products are of one class.
    """
    allowed = np.ones(len(catalog), bool)
    if ids is not None:
        allowed[:] = False
        allowed[catalog.rows_of(ids)] = True
    if pairs is not None:
        named = similar_components(catalog, pairs if ids is None else pairs.within(ids))
    else:
        named = np.unique(catalog.groups.astype(str), return_inverse=True)[1]
        allowed &= catalog.groups != ""
    sizes = np.bincount(named[allowed], minlength=named.max() + 1)
    kept = allowed & (sizes[named] > 1)
    if not kept.any():
        raise ValueError("no two products are of one class.")
    classes = np.full(len(catalog), -1, np.int64)
    classes[kept] = np.unique(named[kept], return_inverse=True)[1]
    return classes


def num_classes(classes: np.ndarray) -> int:
    """Returns C, the number of classes that `product_classes` found."""
    return int(classes.max()) + 1


def group_batches(
    arrays: Mapping[str, Any],
    classes: np.ndarray,
    *,
    groups_per_batch: int = 32,
    products_per_group: int = 4,
    weights: np.ndarray | None = None,
    training: bool = True,
    seed: int = 0,
    clock: EpochClock | None = None,
    shard: tuple[int, int] = (0, 1),
    augment: AugmentSettings | None = None,
) -> tf.data.Dataset:
    """Returns batches of (inputs, class, weight): some products of some groups.

    A group is cut at random into parts of about `products_per_group`, none of a single
    product (of five with two a part, one part has three); the parts come in random
    order, so that a pass has every product once, and large groups come more often.
    With `training=False` all products that have a class come in their order.

    Args:
        arrays, seed, clock, shard, augment: See `pair_batches`.
        classes: [P] int64 as from `product_classes`; -1 for products to leave out.
        groups_per_batch: Parts in a batch, at most.
        products_per_group: Products in a part, about.
        weights: [P] float32 of the products; 1 by default.
        training: As said, and pictures (`..._pixels`) are changed at random.

    Returns:
        inputs: By the encoder's own names, [B, ...].
        class: [B, 1] int32. weight: [B] float32.

    Raises:
        ValueError: no class has two products, or a number is out of its range.
    """
    require_at_least(1, groups_per_batch=groups_per_batch)
    require_at_least(2, products_per_group=products_per_group)
    given = np.ones(len(classes)) if weights is None else weights
    each = np.asarray(given, np.float32)
    if len(each) != len(classes):
        raise ValueError(f"got {len(each)} weights for {len(classes)} products.")
    sizes = np.bincount(classes[classes >= 0])
    if not (sizes > 1).any():
        raise ValueError("no two products are of one class.")
    parts = _num_parts(sizes, products_per_group)
    num_batches = -(-int(parts.sum()) // groups_per_batch)
    plain = np.flatnonzero(classes >= 0)
    if not training:
        num_batches = -(-len(plain) // (groups_per_batch * products_per_group))

    def draw(rng: np.random.Generator | None) -> Iterator[Drawn]:
        if rng is None:
            step = groups_per_batch * products_per_group
            batches = [plain[at : at + step] for at in range(0, len(plain), step)]
        else:
            batches = _parts(classes, parts, num_batches, rng)
        for rows in batches:
            label = classes[rows, np.newaxis].astype(np.int32)
            yield Drawn({"": rows}, label, each[rows])

    return batch_dataset(
        arrays,
        draw,
        num_products=len(classes),
        num_batches=num_batches,
        like=next(draw(None)),
        training=training,
        begin=each_pass(seed, clock),
        shard=shard,
        augment=augment,
    )


def pairs_of_classes(
    inputs: Mapping[str, tf.Tensor], classes: tf.Tensor, weights: tf.Tensor
) -> tuple[Mapping[str, tf.Tensor], tf.Tensor, tf.Tensor]:
    """Returns a batch of classes as one of pairs: `group_batches(...).map(this)`.

    All pairs of the batch count, similar if of one class; similar and dissimilar ones
    weigh half each, where there are both.

    Args:
        inputs: Passed on.
        classes: [B, 1] integers.
        weights: [B] float32; a pair weighs the root of the product of its two.

    Returns:
        inputs, label and weight as `unique_batches` gives them, [B, B] float32.
    """
    label = tf.cast(classes == tf.transpose(classes), tf.float32)
    roots = tf.sqrt(tf.cast(weights, tf.float32))
    weight = tf.linalg.set_diag(
        roots[:, tf.newaxis] * roots, tf.zeros_like(roots, tf.float32)
    )
    similar, other = weight * label, weight * (1 - label)
    sums = tf.reduce_sum(similar), tf.reduce_sum(other)
    kinds = sum(tf.cast(total > 0, tf.float32) for total in sums)
    size = tf.cast(tf.size(weight), tf.float32)
    share = tf.math.divide_no_nan(size, kinds)
    weight = tf.math.divide_no_nan(similar, sums[0])
    weight += tf.math.divide_no_nan(other, sums[1])
    # A product is of its own class, but no pair.
    label = tf.linalg.set_diag(label, tf.zeros_like(roots))
    return inputs, label, share * weight


def _num_parts(sizes: np.ndarray, products_per_group: int) -> np.ndarray:
    """Returns into how many parts groups of [C] sizes are cut; 0 for those of one."""
    return np.minimum(-(-sizes // products_per_group), sizes // 2)


def _parts(
    classes: np.ndarray, parts: np.ndarray, num_batches: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Returns the [B] rows of each batch: parts of groups, in random order.

    Args:
        classes: [P].
        parts: [C], into how many each is cut.
        num_batches: Among which the parts are spread evenly.
        rng: Of the order.
    """
    drawn = rng.permutation(len(classes))
    drawn = drawn[classes[drawn] >= 0]
    drawn = drawn[parts[classes[drawn]] > 0]
    drawn = drawn[np.argsort(classes[drawn], kind="stable")]
    group, first, sizes = np.unique(
        classes[drawn], return_index=True, return_counts=True
    )
    place = np.arange(len(drawn)) - np.repeat(first, sizes)
    # Where each group's parts begin, then which of them: sizes differ by one at most.
    begin = np.cumsum(parts[group]) - parts[group]
    number = np.repeat(begin, sizes)
    number += place * np.repeat(parts[group], sizes) // np.repeat(sizes, sizes)
    order = rng.permutation(int(parts.sum()))
    batch = order[number] * num_batches // len(order)
    by_batch = np.argsort(batch, kind="stable")
    return np.split(
        drawn[by_batch], np.searchsorted(batch[by_batch], range(1, num_batches))
    )
