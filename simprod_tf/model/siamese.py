"""One encoder called twice, with shared weights -> L2 distance.

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
        anchor, other = inputs
        squared = tf.reduce_sum(tf.square(anchor - other), axis=-1, keepdims=True)
        differ = squared > 0
        # Where on both sides of the root: its slope at 0 is infinite.
        root = tf.sqrt(tf.where(differ, squared, tf.ones_like(squared)))
        return tf.where(differ, root, tf.zeros_like(root))


def build_siamese(encoder: tf.keras.Model) -> tf.keras.Model:
    """Returns a model of two products to their distance.

    It takes the encoder's inputs twice, named `anchor_...` and `other_...`, and gives
    `distance`, [B, 1] float32.
    """
    sides = {side: _inputs_of(encoder, side) for side in ("anchor", "other")}
    embeddings = [encoder(inputs) for inputs in sides.values()]
    distance = L2Distance(name="distance")(embeddings)
    named = {
        f"{side}_{name}": tensor
        for side, inputs in sides.items()
        for name, tensor in inputs.items()
    }
    return tf.keras.Model(named, distance, name="siamese")


def _inputs_of(encoder: tf.keras.Model, side: str) -> dict[str, tf.Tensor]:
    return {
        tensor.name: tf.keras.Input(
            tensor.shape[1:], dtype=tensor.dtype, name=f"{side}_{tensor.name}"
        )
        for tensor in encoder.inputs
    }
