"""Word ids -> the weighted mean of their word vectors."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


@tf.keras.saving.register_keras_serializable(package="simprod")
class WordVectorMean(tf.keras.layers.Layer):
    """The weighted mean of a title's word vectors, less their common component.

    Word ids: [B, L] int32, 0 = padding; the words have 1 to num_words, the buckets of
    unknown words the ids behind. With its weights and first principal component set so,
    the mean is the smooth inverse frequency embedding (Arora, Liang, Ma 2017,
    https://openreview.net/forum?id=SyK00v5xx); until they are set it is the plain mean.

    Attributes:
        vectors: [num_words, dim] float32, zeros at first, trained if `train_words`.
        bucket_vectors: [buckets, dim] float32, trained; only where there are buckets.
        word_weights: [num_words + buckets] float32, ones at first, not trained. A word
            of weight 0 counts as unknown.
        common: [dim] float32, a unit vector, or zeros as at first, not trained.
    """

    def __init__(
        self,
        num_words: int,
        dim: int,
        *,
        buckets: int = 0,
        train_words: bool = True,
        **kw: object,
    ):
        super().__init__(**kw)
        self.num_words, self.dim, self.buckets = num_words, dim, buckets
        self.train_words = train_words
        self.vectors = self.add_weight(
            name="vectors",
            shape=(num_words, dim),
            initializer="zeros",
            trainable=train_words,
        )
        if buckets:
            self.bucket_vectors = self.add_weight(
                name="bucket_vectors",
                shape=(buckets, dim),
                initializer=tf.keras.initializers.RandomNormal(stddev=0.01, seed=0),
            )
        self.word_weights = self.add_weight(
            name="word_weights",
            shape=(num_words + buckets,),
            initializer="ones",
            trainable=False,
        )
        self.common = self.add_weight(
            name="common", shape=(dim,), initializer="zeros", trainable=False
        )

    def set_vectors(self, vectors: np.ndarray) -> None:
        """Takes the [num_words, dim] vectors of the words."""
        _assign(self.vectors, vectors)

    def scale_buckets(self, std: float) -> None:
        """Scales the buckets' vectors to that standard deviation.

        With that of the word vectors an unknown word, such as a model number, counts as
        much as a known one, from the start.
        """
        if self.buckets:
            now = float(tf.math.reduce_std(self.bucket_vectors))
            self.bucket_vectors.assign(self.bucket_vectors * (std / now))

    def set_word_weights(self, weights: np.ndarray) -> None:
        """Takes [num_words + buckets] weights, at least 0."""
        if not np.all(np.asarray(weights) >= 0):
            raise ValueError(
                f"word weights must be at least 0, got {np.min(weights)}; "
                "a word of weight 0 counts as unknown."
            )
        _assign(self.word_weights, weights)

    def set_common(self, common: np.ndarray) -> None:
        """Takes a [dim] unit vector, or zeros."""
        length = np.linalg.norm(common)
        if length and not np.isclose(length, 1, atol=1e-3):
            raise ValueError(f"common must have length 1 or 0, got {length:g}.")
        _assign(self.common, common)

    def call(
        self, word_ids: tf.Tensor, training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the mean [B, dim] float32 and whether there is a word [B, 1], 0 or 1.

        The mean of a title without a word is zeros.
        """
        num_rows, length = tf.unstack(tf.shape(word_ids, tf.int64))
        flat = tf.reshape(word_ids, [-1])
        place = tf.where(flat > 0)[:, 0]
        at = tf.cast(tf.gather(flat, place), tf.int64) - 1
        rows = place // tf.maximum(length, 1)
        weights = tf.gather(tf.convert_to_tensor(self.word_weights), at)
        weight = tf.math.unsorted_segment_sum(weights, rows, num_rows)
        found = weight > 0
        # Shares first: fewer numbers than vectors. Of no weight they are 0, not 0 / 0.
        shares = weights / tf.gather(tf.where(found, weight, 1.0), rows)
        mean = self._total(at, rows, shares, num_rows, training)
        return self._without_common(mean), tf.cast(found, mean.dtype)[:, tf.newaxis]

    def _without_common(self, mean: tf.Tensor) -> tf.Tensor:
        common = tf.convert_to_tensor(self.common)
        return tf.cond(
            tf.reduce_any(common != 0),
            lambda: mean - tf.linalg.matvec(mean, common)[:, tf.newaxis] * common,
            lambda: mean,
        )

    def _total(
        self,
        at: tf.Tensor,
        rows: tf.Tensor,
        weights: tf.Tensor,
        num_rows: tf.Tensor,
        training: bool | None,
    ) -> tf.Tensor:
        """Returns [B, dim]: in row rows[i], weights[i] times vector at[i], summed."""
        tables = [(self.vectors, 0, self.num_words)] if self.num_words else []
        if self.buckets:
            end = self.num_words + self.buckets
            tables.append((self.bucket_vectors, self.num_words, end))
        totals = []
        for table, first, end in tables:
            mine = (at, rows, weights)
            if len(tables) > 1:
                kept = tf.where((at >= first) & (at < end))[:, 0]
                mine = tuple(tf.gather(x, kept) for x in mine)
            add_up = _sum_to_train if training and table.trainable else _sum
            totals.append(add_up(table, mine[0] - first, *mine[1:], num_rows))
        return tf.add_n(totals)

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        own = {
            "num_words": self.num_words,
            "dim": self.dim,
            "buckets": self.buckets,
            "train_words": self.train_words,
        }
        return {**super().get_config(), **own}


def _sum(
    table: tf.Variable,
    at: tf.Tensor,
    rows: tf.Tensor,
    weights: tf.Tensor,
    num_rows: tf.Tensor,
) -> tf.Tensor:
    """Returns [B, dim] by a sparse product, which does not write the rows gathered."""
    return tf.raw_ops.SparseTensorDenseMatMul(
        a_indices=tf.stack([rows, at], axis=1),
        a_values=weights,
        a_shape=tf.stack([num_rows, tf.cast(table.shape[0], tf.int64)]),
        b=tf.convert_to_tensor(table),
    )


def _sum_to_train(
    table: tf.Variable,
    at: tf.Tensor,
    rows: tf.Tensor,
    weights: tf.Tensor,
    num_rows: tf.Tensor,
) -> tf.Tensor:
    """Returns the same with a gradient of the rows met, not of the whole table."""
    # Gathering from the variable itself would make every later read of it a copy.
    vectors = tf.gather(tf.convert_to_tensor(table), at)
    return tf.math.unsorted_segment_sum(
        vectors * weights[:, tf.newaxis], rows, num_rows
    )


def _assign(variable: tf.Variable, values: np.ndarray) -> None:
    """Sets a weight whose shape must agree."""
    if np.shape(values) != tuple(variable.shape):
        raise ValueError(
            f"{variable.name.split(':')[0]} must have shape {tuple(variable.shape)}, "
            f"got {np.shape(values)}."
        )
    variable.assign(values)
