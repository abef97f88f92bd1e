"""Triplet losses, mined in the batch: unit-length embeddings [B, D], class ids [B].

TensorFlow Addons has both, but reduces to a scalar before sample weights can act, and
its semi-hard mining writes [B * B, B] matrices. These give one loss an anchor, so that
weights act; unweighted they are held equal to TensorFlow Addons' by test, but for
semi-hard mining without any similar pair, where these are 0 and theirs is 0 / 0.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from simprod_tf.model.losses import checked_margin
from simprod_tf.model.siamese import pairwise_distance


def triplet_semihard_loss(margin: float = 1.0) -> tf.keras.losses.Loss:
    """Returns the triplet loss of Schroff, Kalenichenko and Philbin 2015 (FaceNet).

    Of each anchor and each other product of its class: max(margin + distance to it -
    distance to a negative, 0), the negative being the nearest one farther than it, or
    the farthest where none is. The mean is over all pairs of one class.
    """
    return TripletSemihardLoss(margin)


def triplet_hard_loss(margin: float = 1.0, soft: bool = False) -> tf.keras.losses.Loss:
    """Returns the batch-hard triplet loss of Hermans, Beyer and Leibe 2017.

    Of each anchor: max(margin + distance to the farthest of its class - distance to
    the nearest of another, 0), or with `soft` log(1 + exp(the difference)), without a
    margin. Alone in its class, an anchor counts itself as the farthest.
    """
    return TripletHardLoss(margin, soft)


@tf.keras.saving.register_keras_serializable(package="simprod")
class TripletSemihardLoss(tf.keras.losses.Loss):
    """See `triplet_semihard_loss`."""

    def __init__(
        self, margin: float = 1.0, name: str = "triplet_semihard_loss", **kw: Any
    ) -> None:
        super().__init__(name=name, **kw)
        self.margin = checked_margin(margin)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns [B] float32 whose mean is the loss."""
        distances = pairwise_distance(y_pred)
        same = _same_class(y_true)
        signs, num_active = _semihard(tf.stop_gradient(distances), same, self.margin)
        losses = self.margin * num_active + tf.reduce_sum(signs * distances, axis=1)
        num_anchors = tf.cast(tf.shape(same)[0], tf.float32)
        num_pairs = tf.reduce_sum(tf.cast(same, tf.float32)) - num_anchors
        return losses * tf.math.divide_no_nan(num_anchors, num_pairs)

    def get_config(self) -> dict:
        """Returns what rebuilds the loss."""
        return {**super().get_config(), "margin": self.margin}


@tf.keras.saving.register_keras_serializable(package="simprod")
class TripletHardLoss(tf.keras.losses.Loss):
    """See `triplet_hard_loss`."""

    def __init__(
        self,
        margin: float = 1.0,
        soft: bool = False,
        name: str = "triplet_hard_loss",
        **kw: Any,
    ) -> None:
        super().__init__(name=name, **kw)
        self.margin, self.soft = checked_margin(margin), soft

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns [B] float32, the loss of each anchor."""
        distances = pairwise_distance(y_pred)
        same = _same_class(y_true)
        farthest = tf.reduce_max(distances, axis=1, keepdims=True)
        hard_similar = tf.reduce_max(tf.where(same, distances, 0.0), axis=1)
        hard_other = tf.reduce_min(tf.where(same, farthest, distances), axis=1)
        if self.soft:
            return tf.math.softplus(hard_similar - hard_other)
        return tf.maximum(self.margin + hard_similar - hard_other, 0.0)

    def get_config(self) -> dict:
        """Returns what rebuilds the loss."""
        return {**super().get_config(), "margin": self.margin, "soft": self.soft}


def _semihard(
    distances: tf.Tensor, same: tf.Tensor, margin: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns how often each distance counts, and how many triplets have a loss.

    Which triplets have one is fixed here, so that an anchor's loss is a sum of its
    distances: signs [B, B], + as a similar pair and - as a negative; number [B].
    """
    others = tf.where(same, tf.float32.max, distances)
    has_other = tf.reduce_any(~same, axis=1)
    last = tf.argmax(tf.where(same, -1.0, distances), axis=1)
    pairs = tf.linalg.set_diag(same, tf.zeros_like(has_other))
    place = tf.where(pairs, tf.cumsum(tf.cast(pairs, tf.int32), axis=1), 0)

    # The first similar product of every anchor, then the second: classes are small,
    # and all triplets at once would be [B, B, B].
    def step(
        turn: tf.Tensor, signs: tf.Tensor, number: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        is_pair = place == turn
        to_similar = tf.reduce_sum(tf.where(is_pair, distances, 0.0), axis=1)
        farther = tf.where(others > to_similar[:, None], others, tf.float32.max)
        found = tf.reduce_min(farther, axis=1) < tf.float32.max
        negative = tf.where(found, tf.argmin(farther, axis=1), last)
        is_negative = tf.one_hot(negative, tf.shape(same)[0], True, False)
        is_negative &= has_other[:, None]
        to_other = tf.reduce_sum(tf.where(is_negative, distances, 0.0), axis=1)
        active = tf.reduce_any(is_pair, axis=1) & (margin + to_similar > to_other)
        change = tf.cast(is_pair, tf.float32) - tf.cast(is_negative, tf.float32)
        counts = tf.cast(active, tf.float32)
        return turn + 1, signs + change * counts[:, None], number + counts

    most = tf.reduce_max(place)
    start = (1, tf.zeros_like(distances), tf.zeros_like(distances[:, 0]))
    _, signs, number = tf.while_loop(lambda turn, *_: turn <= most, step, start)
    return tf.stop_gradient(signs), tf.stop_gradient(number)


def _same_class(class_ids: tf.Tensor) -> tf.Tensor:
    """Returns [B, B] bool of ids [B] or [B, 1]."""
    flat = tf.reshape(class_ids, [-1])
    return flat[:, tf.newaxis] == flat
