"""Training by classes: ArcFace (Deng, Guo, Xue and Zafeiriou 2019).

Each class has a unit vector of its own, learned and thrown away after training; an
embedding is pulled to within a margin of angle of its class's.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from simprod_tf.model.siamese import inputs_of

# Squared sine under which an angle counts as 0 or pi, where its slope is infinite.
TINY = 1e-6


def build_classifier(encoder: tf.keras.Model, num_classes: int) -> tf.keras.Model:
    """Returns a model of products to the cosines with each class, [B, C] float32.

    It takes the encoder's inputs and gives `cosine`.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}.")
    inputs = inputs_of(encoder)
    layer = ClassCosine(num_classes, name="cosine", dtype="float32")
    return tf.keras.Model(inputs, layer(encoder(inputs)), name="classifier")


@tf.keras.saving.register_keras_serializable(package="simprod")
class ClassCosine(tf.keras.layers.Layer):
    """Cosines of unit-length embeddings [B, D] with learned vectors: [B, C]."""

    def __init__(self, num_classes: int, **kw: Any) -> None:
        super().__init__(**kw)
        self.num_classes = num_classes

    def build(self, input_shape: tf.TensorShape) -> None:
        """Makes the vectors [C, D]: their directions count, not their lengths."""
        self.class_vectors = self.add_weight(
            name="class_vectors",
            shape=(self.num_classes, int(input_shape[-1])),
            initializer=tf.keras.initializers.RandomNormal(stddev=1.0),
        )

    def call(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Returns cosines in [-1, 1], up to rounding; 0 for an embedding of 0."""
        unit = tf.math.l2_normalize(self.class_vectors, axis=1)
        return tf.matmul(embeddings, unit, transpose_b=True)

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "num_classes": self.num_classes}


@tf.keras.saving.register_keras_serializable(package="simprod")
class ArcFaceLoss(tf.keras.losses.Loss):
    """Cross-entropy of scale * cosine, with cos(a + m) for the target's cos(a).

    Takes class ids [B] or [B, 1] and cosines [B, C]. Beyond a + m = pi the target's
    goes on falling as -2 - cos(a + m), as Liu et al. 2017 (SphereFace) continue theirs,
    so that a farther embedding is always worse.

    Attributes:
        margin: m in radians, a float32 variable that `MarginRamp` changes.
        scale: Of the cosines, the inverse of a temperature.
    """

    def __init__(
        self,
        margin: float = 0.3,
        scale: float = 30.0,
        name: str = "arcface_loss",
        **kw: Any,
    ) -> None:
        super().__init__(name=name, **kw)
        if scale <= 0:
            raise ValueError(f"scale must be above 0, got {scale}.")
        self.margin = tf.Variable(
            _checked_angle(margin), trainable=False, dtype=tf.float32, name="margin"
        )
        self.scale = scale

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns [B] float32, the cross-entropy of each product."""
        cosines = tf.cast(y_pred, tf.float32)
        class_ids = tf.cast(tf.reshape(y_true, [-1]), tf.int32)
        is_target = tf.one_hot(class_ids, tf.shape(cosines)[1])
        target = tf.reduce_sum(cosines * is_target, axis=1)
        change = _with_margin(target, self.margin) - target
        logits = self.scale * (cosines + is_target * change[:, tf.newaxis])
        return tf.nn.sparse_softmax_cross_entropy_with_logits(class_ids, logits)

    def get_config(self) -> dict:
        """Returns what rebuilds the loss, with the margin as it is now."""
        own = {
            "margin": float(tf.keras.backend.get_value(self.margin)),
            "scale": self.scale,
        }
        return {**super().get_config(), **own}


class MarginRamp(tf.keras.callbacks.Callback):
    """Raises the margin of an `ArcFaceLoss` epoch by epoch, in a straight line.

    `start` in the first epoch, `end` once `epochs` have passed and ever after. It
    depends on the epoch alone, so a training taken up again goes on alike.
    """

    def __init__(
        self,
        loss: ArcFaceLoss,
        *,
        start: float = 0.0,
        end: float = 0.5,
        epochs: int = 10,
    ) -> None:
        super().__init__()
        if epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {epochs}.")
        self._loss, self._epochs = loss, epochs
        self._start, self._end = _checked_angle(start), _checked_angle(end)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Sets the epoch's margin."""
        part = min(epoch / self._epochs, 1.0)
        self._loss.margin.assign(self._start + part * (self._end - self._start))


def _with_margin(cosine: tf.Tensor, margin: tf.Tensor) -> tf.Tensor:
    """Returns cos(a + margin) of cos(a), and -2 - cos(a + margin) beyond pi."""
    # By the sum formula: the slope of arccos is infinite at 1 and -1.
    sine = tf.sqrt(tf.maximum(1.0 - tf.square(cosine), TINY))
    moved = cosine * tf.cos(margin) - sine * tf.sin(margin)
    within = cosine >= -tf.cos(margin)
    return tf.where(within, moved, -2.0 - moved)


def _checked_angle(margin: float) -> float:
    if not 0 <= margin < math.pi / 2:
        raise ValueError(f"margin must be in [0, pi / 2) radians, got {margin}.")
    return float(margin)
