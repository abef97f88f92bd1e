"""Word ids -> the mean of their word vectors."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


@tf.keras.saving.register_keras_serializable(package="simprod")
class WordVectorMean(tf.keras.layers.Layer):
    """The mean of the vectors of a title's known words; zeros where there is none.

    Word ids: [B, L] int32, 0 = padding. Its one weight is [num_words, dim]; the vector
    of id i stands in row i - 1.
    """

    def __init__(self, num_words: int, dim: int, **kw: object):
        super().__init__(**kw)
        self.num_words, self.dim = num_words, dim

    def build(self, input_shape: tf.TensorShape) -> None:
        """Makes the table of vectors; `set_vectors` fills it."""
        self.vectors = self.add_weight(
            name="vectors", shape=(self.num_words, self.dim), initializer="zeros"
        )

    def set_vectors(self, vectors: np.ndarray) -> None:
        """Takes the [num_words, dim] float32 vectors of gensim."""
        self.set_weights([vectors])

    def call(self, word_ids: tf.Tensor) -> tf.Tensor:
        """Returns [B, dim] float32."""
        known = word_ids > 0
        vectors = tf.gather(self.vectors, tf.maximum(word_ids - 1, 0))
        weight = tf.cast(known, vectors.dtype)[..., tf.newaxis]
        total = tf.reduce_sum(vectors * weight, axis=1)
        # At least one: a title without a known word is zeros, not 0 / 0.
        return total / tf.maximum(tf.reduce_sum(weight, axis=1), 1.0)

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        own = {"num_words": self.num_words, "dim": self.dim}
        return {**super().get_config(), **own}


@tf.keras.saving.register_keras_serializable(package="simprod")
class HasWords(tf.keras.layers.Layer):
    """Whether a title has a known word: [B, L] word ids -> [B, 1] float32, 0 or 1."""

    def call(self, word_ids: tf.Tensor) -> tf.Tensor:
        """Returns 1.0 where any id is not padding."""
        found = tf.reduce_any(word_ids > 0, axis=1, keepdims=True)
        return tf.cast(found, tf.float32)
