"""tf.data: batches of labelled pairs of products, gathered from arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs
from simprod_tf.features.augment import augment_pictures

# The inputs that are pictures end in this.
PIXELS = "_pixels"


def pair_batches(
    arrays: Mapping[str, Any],
    catalog: Catalog,
    pairs: Pairs,
    *,
    batch_size: int = 128,
    training: bool = False,
    seed: int = 0,
) -> tf.data.Dataset:
    """Returns batches of (inputs, label, weight) for the Siamese model.

    Args:
        arrays: The encoder's inputs by name, each [P, ...], in the catalogue's order:
            numpy arrays, or what gathers its rows from files when indexed.
        catalog: Whose rows the arrays follow.
        pairs: The pairs; all their ids are in the catalogue.
        batch_size: Pairs in a batch; the last batch of a pass may be smaller.
        training: New order each pass, and pictures (`..._pixels`) changed at random.
        seed: Of that order and those changes.

    Returns:
        inputs: `anchor_<name>` and `other_<name>`, [B, ...].
        label: [B, 1] float32. weight: [B] float32.
    """
    rows = np.stack(
        [catalog.rows_of(pairs.anchor_ids), catalog.rows_of(pairs.other_ids)], axis=1
    )
    labels = pairs.labels.astype(np.float32)[:, np.newaxis]
    dataset = tf.data.Dataset.from_tensor_slices((rows, labels, pairs.weights))
    if training:
        dataset = dataset.shuffle(len(pairs), seed=seed)
    dataset = dataset.batch(batch_size)

    def gather(
        rows: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        inputs = {}
        for side, column in (("anchor", 0), ("other", 1)):
            for name, array in arrays.items():
                inputs[f"{side}_{name}"] = _rows_of(array, rows[:, column])
        return inputs, labels, weights

    dataset = dataset.map(gather, num_parallel_calls=1)
    if training and any(name.endswith(PIXELS) for name in arrays):
        seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
        dataset = tf.data.Dataset.zip((dataset, seeds.batch(4)))
        dataset = dataset.map(_with_changed_pictures, num_parallel_calls=2)
    return dataset.prefetch(2)


def _rows_of(array: Any, rows: tf.Tensor) -> tf.Tensor:
    # Numpy gathers: the array may lie in a file, and is in no graph.
    found = tf.numpy_function(lambda r: array[r], [rows], array.dtype, stateful=False)
    return tf.ensure_shape(found, [None, *array.shape[1:]])


def _with_changed_pictures(
    batch: tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor], seeds: tf.Tensor
) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
    """Changes the pictures of both sides, each by two of the four [4] seeds."""
    inputs, labels, weights = batch
    # The towers of one encoder see the same crop of a picture.
    by_side = {"anchor": seeds[:2], "other": seeds[2:]}
    new = {
        name: augment_pictures(pixels, by_side[name.split("_")[0]])
        for name, pixels in inputs.items()
        if name.endswith(PIXELS)
    }
    return {**inputs, **new}, labels, weights
