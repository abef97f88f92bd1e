"""One encoder, shared weights -> L2 distance, of twin pairs or of all in a batch.

Siamese network: Bromley et al. 1993; Hadsell, Chopra, LeCun 2006.
"""

from __future__ import annotations

import tensorflow as tf


@tf.keras.saving.register_keras_serializable(package="simprod")
class L2Distance(tf.keras.layers.Layer):
    """L2 distance of two [B, D] batches, row by row: [B, 1] float32.

    Equal rows give exactly 0 and a gradient of 0, not NaN.
    """

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Returns distances in [0, 2] for unit-length rows."""
        anchor, other = (tf.cast(x, tf.float32) for x in inputs)
        squared = tf.reduce_sum(tf.square(anchor - other), axis=-1, keepdims=True)
        return _root(squared)


@tf.keras.saving.register_keras_serializable(package="simprod")
class PairwiseDistance(tf.keras.layers.Layer):
    """L2 distance of every two rows of one [B, D] batch: [B, B] float32."""

    def call(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Returns `pairwise_distance`."""
        return pairwise_distance(embeddings)


def pairwise_distance(embeddings: tf.Tensor) -> tf.Tensor:
    """Returns the L2 distances [B, B] float32 of every two rows of [B, D].

    Symmetric, the diagonal exactly 0, the gradient finite everywhere. By one matrix
    product, so unit vectors nearer than 0.001 are told apart by no more than that; a
    GPU that multiplies in TF32 is 30 times coarser.
    """
    x = tf.cast(embeddings, tf.float32)
    products = tf.matmul(x, x, transpose_b=True)
    # Lengths off the diagonal: equal rows then round alike, and come out near 0. Not by
    # diag_part: with a batch of unknown size XLA knows no gradient of it.
    diagonal = tf.eye(tf.shape(x)[0])
    lengths = tf.reduce_sum(products * diagonal, axis=1)
    squared = lengths[:, tf.newaxis] + lengths - 2.0 * products
    return _root(squared * (1.0 - diagonal))


def build_siamese(encoder: tf.keras.Model) -> tf.keras.Model:
    """Returns a model of two products to their distance.

    It takes the encoder's inputs twice, named `anchor_...` and `other_...`, and gives
    `distance`, [B, 1] float32.
    """
    sides = {side: inputs_of(encoder, f"{side}_") for side in ("anchor", "other")}
    embeddings = [encoder(inputs) for inputs in sides.values()]
    distance = L2Distance(name="distance", dtype="float32")(embeddings)
    named = {
        f"{side}_{name}": tensor
        for side, inputs in sides.items()
        for name, tensor in inputs.items()
    }
    return tf.keras.Model(named, distance, name="siamese")


def build_pairwise(encoder: tf.keras.Model) -> tf.keras.Model:
    """Returns a model of a batch of products to the distances of all their pairs.

    It takes the encoder's inputs and gives `distance`, [B, B] float32.
    """
    inputs = inputs_of(encoder)
    distance = PairwiseDistance(name="distance", dtype="float32")(encoder(inputs))
    return tf.keras.Model(inputs, distance, name="pairwise")


def inputs_of(encoder: tf.keras.Model, prefix: str = "") -> dict[str, tf.Tensor]:
    """Returns new inputs like the encoder's, by its names for them."""
    return {
        tensor.name: tf.keras.Input(
            tensor.shape[1:], dtype=tensor.dtype, name=f"{prefix}{tensor.name}"
        )
        for tensor in encoder.inputs
    }


def _root(squared: tf.Tensor) -> tf.Tensor:
    """Returns the root, where not above 0 it is 0 with a gradient of 0."""
    positive = squared > 0
    # Where on both sides of the root: its slope at 0 is infinite.
    root = tf.sqrt(tf.where(positive, squared, tf.ones_like(squared)))
    return tf.where(positive, root, tf.zeros_like(root))
