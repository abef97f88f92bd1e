"""Losses on distances: of twin pairs [B, 1], or of all pairs in a batch [B, B].

Labels have the distances' shape, 1 = similar. On [B, B] a weight of 0 takes a pair
out, such as the diagonal or a pair of which nothing is known.
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import tensorflow as tf

from simprod_tf.errors import MissingLibraryError

# Between unit vectors.
MAX_DISTANCE = 2.0
# A logit that no other one can be below: its exponential is 0, its gradient too.
LOWEST = -1e9


def contrastive_loss(margin: float = 1.0) -> tf.keras.losses.Loss:
    """Returns the contrastive loss of Hadsell, Chopra and LeCun 2006.

    label * distance^2 + (1 - label) * max(margin - distance, 0)^2, label 1 = similar.
    Distances between unit vectors are at most 2, so the margin must not be above.

    Raises:
        MissingLibraryError: TensorFlow Addons, which computes it, is not installed.
    """
    return ContrastiveLoss(margin)


def double_margin_loss(
    similar_margin: float = 0.3, margin: float = 1.0
) -> tf.keras.losses.Loss:
    """Returns the contrastive loss that leaves similar pairs alone once they are near.

    label * max(distance - similar_margin, 0)^2
    + (1 - label) * max(margin - distance, 0)^2. Lin, Morère, Chandrasekhar, Veillard
    and Goh 2015, "DeepHash", use two margins: similar is not the same.
    """
    return DoubleMarginLoss(similar_margin, margin)


def npairs_loss(temperature: float = 0.1) -> tf.keras.losses.Loss:
    """Returns the multiple-negatives ranking loss on all pairs in a batch, [B, B].

    Of each similar pair (i, j): -log of exp(s_ij / t) over itself plus the sum of
    exp(s_ik / t) over the products k that are not similar to i, with the cosine
    s = 1 - distance^2 / 2. Sohn 2016 (N-pair); Henderson et al. 2017; van den Oord, Li
    and Vinyals 2018 (InfoNCE).

    A pair of which nothing is known, label 0 and weight 0, counts as a negative: that
    is the method, which trusts that two products met by chance differ. Weights act on
    the similar pairs, and the result is their weighted mean; 0 where there are none.
    """
    return NPairsLoss(temperature)


@tf.keras.saving.register_keras_serializable(package="simprod")
class ContrastiveLoss(tf.keras.losses.Loss):
    """See `contrastive_loss`."""

    def __init__(
        self, margin: float = 1.0, name: str = "contrastive_loss", **kw: Any
    ) -> None:
        super().__init__(name=name, **kw)
        self.margin = checked_margin(margin)
        self._per_pair = _addons().losses.contrastive_loss

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of each pair, float32, of the distances' shape."""
        labels, distances = _in_float32(y_true, y_pred)
        return self._per_pair(labels, distances, self.margin)

    def get_config(self) -> dict:
        """Returns what rebuilds the loss."""
        return {**super().get_config(), "margin": self.margin}


@tf.keras.saving.register_keras_serializable(package="simprod")
class DoubleMarginLoss(tf.keras.losses.Loss):
    """See `double_margin_loss`."""

    def __init__(
        self,
        similar_margin: float = 0.3,
        margin: float = 1.0,
        name: str = "double_margin_loss",
        **kw: Any,
    ) -> None:
        super().__init__(name=name, **kw)
        self.margin = checked_margin(margin)
        if not 0 <= similar_margin < margin:
            raise ValueError(
                f"similar_margin must be in [0, margin), got {similar_margin} "
                f"with margin {margin}."
            )
        self.similar_margin = similar_margin

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of each pair, float32, of the distances' shape."""
        labels, distances = _in_float32(y_true, y_pred)
        too_far = tf.square(tf.maximum(distances - self.similar_margin, 0.0))
        too_near = tf.square(tf.maximum(self.margin - distances, 0.0))
        return labels * too_far + (1.0 - labels) * too_near

    def get_config(self) -> dict:
        """Returns what rebuilds the loss."""
        own = {"similar_margin": self.similar_margin, "margin": self.margin}
        return {**super().get_config(), **own}


@tf.keras.saving.register_keras_serializable(package="simprod")
class NPairsLoss(tf.keras.losses.Loss):
    """See `npairs_loss`."""

    def __init__(
        self, temperature: float = 0.1, name: str = "npairs_loss", **kw: Any
    ) -> None:
        super().__init__(name=name, **kw)
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}.")
        self.temperature = temperature

    def __call__(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the weighted mean over the similar pairs, a float32 scalar."""
        # Keras would divide by all B * B pairs, of which few are similar. It still
        # scales this scalar to the number of replicas under tf.distribute.
        losses = self.call(y_true, y_pred)
        weights = _similar(_in_float32(y_true, y_pred)[0])
        if sample_weight is not None:
            weights *= tf.cast(sample_weight, tf.float32)
        total = tf.reduce_sum(weights * losses)
        return tf.math.divide_no_nan(total, tf.reduce_sum(weights))

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns [B, B] float32: the loss of each similar pair, elsewhere 0."""
        if y_pred.shape[-1] == 1 and y_pred.shape[0] != 1:
            raise ValueError(
                "npairs_loss needs the distances of all pairs in a batch, [B, B] as of "
                f"build_pairwise; got {y_pred.shape}."
            )
        labels, distances = _in_float32(y_true, y_pred)
        logits = (1.0 - tf.square(distances) / 2.0) / self.temperature
        similar = _similar(labels)
        other = 1.0 - similar - tf.eye(tf.shape(labels)[0])
        negatives = tf.reduce_logsumexp(
            tf.where(other > 0, logits, LOWEST), axis=1, keepdims=True
        )
        return similar * tf.math.softplus(negatives - logits)

    def get_config(self) -> dict:
        """Returns what rebuilds the loss."""
        return {**super().get_config(), "temperature": self.temperature}


def _in_float32(y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns labels and distances, both of the distances' shape."""
    distances = tf.cast(y_pred, tf.float32)
    # [B] labels against [B, 1] distances would make [B, B] losses, and class ids
    # against [B, B] distances would pass for labels: reshaped, they fit or fail.
    return tf.reshape(tf.cast(y_true, tf.float32), tf.shape(distances)), distances


def _similar(labels: tf.Tensor) -> tf.Tensor:
    """Returns [B, B] float32: 1 where similar, 0 elsewhere and on the diagonal."""
    similar = tf.cast(labels > 0.5, tf.float32)
    return tf.linalg.set_diag(similar, tf.zeros(tf.shape(labels)[:1]))


def checked_margin(margin: float) -> float:
    """Returns the margin, refusing what unit vectors cannot reach."""
    if not 0 < margin <= MAX_DISTANCE:
        raise ValueError(f"margin must be in (0, 2], got {margin}.")
    return margin


def _addons() -> ModuleType:
    try:
        with warnings.catch_warnings():
            # On import it announces its own end of life.
            warnings.simplefilter("ignore")
            import tensorflow_addons as tfa
    except ImportError as error:
        raise MissingLibraryError(
            "the contrastive loss needs TensorFlow Addons: "
            "pip install tensorflow-addons~=0.23.0 (with TensorFlow 2.15)."
        ) from error
    return tfa
