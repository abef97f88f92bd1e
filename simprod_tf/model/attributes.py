"""Attributes of a product -> vectors: categories (brand) and numbers (price).

They compute in float32 under any Keras policy: half precision has two to three digits,
and a price has more.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


@tf.keras.saving.register_keras_serializable(package="simprod")
class CategoryVector(tf.keras.layers.Layer):
    """A trained vector for each value of a category: [B, 1] int32 ids -> [B, dim].

    Id 0 is a missing or unknown value, which has no vector: zeros. The vectors begin at
    random, so that two values are about as far apart as any two others.
    """

    def __init__(self, num_values: int, dim: int, dtype: str = "float32", **kw: object):
        super().__init__(dtype=dtype, **kw)
        self.num_values, self.dim = num_values, dim

    def build(self, input_shape: tf.TensorShape) -> None:
        """Makes the table; the vector of id i stands in row i - 1."""
        self.vectors = self.add_weight(
            name="vectors",
            shape=(self.num_values, self.dim),
            initializer=tf.keras.initializers.RandomNormal(stddev=self.dim**-0.5),
        )

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns [B, dim] float32."""
        vectors = tf.gather(self.vectors, tf.maximum(ids[:, 0] - 1, 0))
        return vectors * tf.cast(ids > 0, vectors.dtype)

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        own = {"num_values": self.num_values, "dim": self.dim}
        return {**super().get_config(), **own}


@tf.keras.saving.register_keras_serializable(package="simprod")
class HasValue(tf.keras.layers.Layer):
    """Whether a category is known: [B, 1] ids -> [B, 1] float32, 0 or 1."""

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns 1.0 where the id is not 0."""
        return tf.cast(ids > 0, tf.float32)


@tf.keras.saving.register_keras_serializable(package="simprod")
class NumberVector(tf.keras.layers.Layer):
    """A number among points of its distribution: [B, 1] float32 -> [B, points].

    A number between two neighbouring points is split between them in proportion (a
    linear B-spline); one beyond the ends counts as the end. With quantiles as points,
    numbers that few others lie between have nearly the same vector, whatever the scale.
    """

    def __init__(self, points: Sequence[float], dtype: str = "float32", **kw: object):
        super().__init__(dtype=dtype, **kw)
        self.points = tuple(float(point) for point in points)
        if not self.points or list(self.points) != sorted(set(self.points)):
            raise ValueError(f"points must rise, at least one, got {self.points}.")

    def call(self, numbers: tf.Tensor) -> tf.Tensor:
        """Returns weights of the points, at least 0, 1 in sum."""
        points = tf.constant(self.points, tf.float32)
        x = tf.clip_by_value(numbers, self.points[0], self.points[-1])
        if len(self.points) == 1:
            return tf.ones_like(x)
        gaps = points[1:] - points[:-1]
        # How far a number has come from one point to the next: 0 before, 1 behind.
        come = tf.clip_by_value((x - points[:-1]) / gaps, 0.0, 1.0)
        reached = tf.concat([tf.ones_like(x), come], axis=1)
        passed = tf.concat([come, tf.zeros_like(x)], axis=1)
        return reached - passed

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "points": self.points}
