"""Keras metrics of a batch's pairs."""

from __future__ import annotations

import tensorflow as tf


@tf.keras.saving.register_keras_serializable(package="simprod")
class DistancePrAuc(tf.keras.metrics.AUC):
    """Area under the precision-recall curve of distances in [0, 2], label 1 = similar.

    It ranks, where the loss also judges the scale: pairs of new products may be told
    apart ever better while their loss rises.
    """

    def __init__(self, name: str = "pr_auc", **kw: object):
        super().__init__(curve="PR", name=name, **kw)

    def update_state(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: tf.Tensor | None = None,
    ) -> tf.Operation:
        """Takes [B, 1] labels and distances."""
        score = tf.clip_by_value(1.0 - y_pred / 2.0, 0.0, 1.0)
        return super().update_state(y_true, score, sample_weight)

    def get_config(self) -> dict:
        """Returns what rebuilds the metric."""
        return {"name": self.name}
