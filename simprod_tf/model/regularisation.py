"""What is left out while training, by draws that a restarted training repeats.

Each layer draws from a generator of its own, which `reset_generators` sets at the start
of an epoch: a training killed and taken up at an epoch goes on as if it had not been.
The generators are in checkpoints, but not among a model's weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf


@tf.keras.saving.register_keras_serializable(package="simprod")
class EpochDropout(tf.keras.layers.Layer):
    """While training, sets a share of the numbers to 0 and scales up the rest.

    Dropout: Srivastava et al. 2014. The draws differ with and without XLA, and from
    replica to replica.
    """

    def __init__(self, rate: float, seed: int = 0, **kw: Any) -> None:
        super().__init__(**kw)
        self.rate, self.seed = rate, seed
        self.generator = tf.random.Generator.from_seed(seed)

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns x, or while training x / (1 - rate) where not left out."""
        if not training or not self.rate:
            return tf.identity(x)
        kept = self.generator.uniform(tf.shape(x)) >= self.rate
        return tf.where(kept, x / (1.0 - self.rate), tf.zeros_like(x))

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@tf.keras.saving.register_keras_serializable(package="simprod")
class ModalityDropout(tf.keras.layers.Layer):
    """While training, takes one modality away from some products that have several."""

    def __init__(self, rate: float, seed: int = 0, **kw: Any) -> None:
        super().__init__(**kw)
        self.rate, self.seed = rate, seed
        self.generator = tf.random.Generator.from_seed(seed)

    def call(self, flags: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns presence flags [B, M], each 0 or 1, at most one 1 a row now 0."""
        if not training or not self.rate:
            return tf.identity(flags)
        # The present modality with the highest draw is the one to go.
        draws = self.generator.uniform(tf.shape(flags)) * tf.cast(flags, tf.float32)
        highest = tf.one_hot(tf.argmax(draws, axis=1), tf.shape(flags)[1])
        several = tf.reduce_sum(flags, axis=1, keepdims=True) > 1
        chosen = self.generator.uniform(tf.shape(flags[:, :1])) < self.rate
        goes = tf.cast(tf.logical_and(several, chosen), flags.dtype)
        return flags * (1.0 - tf.cast(highest, flags.dtype) * goes)

    def get_config(self) -> dict:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def reset_generators(model: tf.keras.Model, *, seed: int, epoch: int) -> None:
    """Sets every generator in the model, by seed, epoch and its place in the model.

    Args:
        model: Models inside it are searched too.
        seed: Of the training, at least 0.
        epoch: At least 0.
    """
    if seed < 0 or epoch < 0:
        raise ValueError(f"seed and epoch must be at least 0, got {seed} and {epoch}.")
    for position, layer in enumerate(_drawing_layers(model)):
        mixed = np.random.SeedSequence([seed, epoch, position])
        layer.generator.reset_from_seed(int(mixed.generate_state(1)[0]))


def _drawing_layers(model: tf.keras.Model) -> Iterator[tf.keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, tf.keras.Model):
            yield from _drawing_layers(layer)
        elif isinstance(layer, (EpochDropout, ModalityDropout)):
            yield layer
