"""tf.data: batches of labelled pairs of products, gathered from arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs


def pair_batches(
    arrays: Mapping[str, np.ndarray],
    catalog: Catalog,
    pairs: Pairs,
    *,
    batch_size: int = 128,
    training: bool = False,
    seed: int = 0,
) -> tf.data.Dataset:
    """Returns batches of (inputs, label, weight) for the Siamese model.

    Args:
        arrays: The encoder's inputs by name, each [P, ...], in the catalogue's order.
        catalog: Whose rows the arrays follow.
        pairs: The pairs; all their ids are in the catalogue.
        batch_size: Pairs in a batch; the last batch of a pass may be smaller.
        training: New order each pass, the two sides swapped at random, and pictures
            (`image`) flipped, shifted and lit at random.
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
    if training and "image" in arrays:
        dataset = dataset.map(_augment(seed), num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(2)


def _rows_of(array: np.ndarray, rows: tf.Tensor) -> tf.Tensor:
    # Numpy gathers: the array may lie in a file, and is in no graph.
    found = tf.numpy_function(lambda r: array[r], [rows], array.dtype, stateful=False)
    return tf.ensure_shape(found, [None, *array.shape[1:]])


def _augment(seed: int):  # type: ignore[no-untyped-def]
    """Returns a map that changes both pictures of each pair, each on its own."""
    layers = tf.keras.layers
    change = tf.keras.Sequential(
        [
            layers.RandomFlip("horizontal", seed=seed),
            layers.RandomTranslation(0.08, 0.08, fill_mode="nearest", seed=seed + 1),
            layers.RandomZoom((-0.1, 0.1), fill_mode="nearest", seed=seed + 2),
            layers.RandomBrightness(0.15, seed=seed + 3),
            layers.RandomContrast(0.15, seed=seed + 4),
        ]
    )

    def changed(
        inputs: dict[str, tf.Tensor], labels: tf.Tensor, weights: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        images = {
            n: x for n, x in inputs.items() if n.endswith("_image") and x.ndim == 4
        }
        new = {
            name: change(tf.cast(image, tf.float32), training=True)
            for name, image in images.items()
        }
        return {**inputs, **new}, labels, weights

    return changed
