"""Embeddings of a catalogue's products while a model is being trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf


class Embedder:
    """Embeds rows of arrays by a model's present weights; its graph is made once."""

    def __init__(
        self,
        encoder: tf.keras.Model,
        arrays: Mapping[str, Any],
        *,
        batch_size: int = 256,
    ) -> None:
        """Takes what to embed.

        Args:
            encoder: A model of named inputs to embeddings [B, D].
            arrays: Its inputs by name, each [P, ...]; further ones are left aside.
            batch_size: Products embedded at once.

        Raises:
            ValueError: an input of the encoder is not among the arrays.
        """
        names = [tensor.name for tensor in encoder.inputs]
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ValueError(
                f"the encoder takes {', '.join(missing)}, and the arrays are "
                f"{', '.join(arrays)}."
            )
        self._arrays = {name: arrays[name] for name in names}
        self._batch_size = batch_size
        self._types = {one.name: one.dtype.as_numpy_dtype for one in encoder.inputs}
        signature = {
            one.name: tf.TensorSpec([None, *one.shape[1:]], one.dtype, name=one.name)
            for one in encoder.inputs
        }
        # In one function with its types fixed: a graph for all batches of all epochs.
        self.forward = tf.function(
            lambda inputs: encoder(inputs, training=False), input_signature=[signature]
        )

    def __len__(self) -> int:
        """The number of products that there are arrays of."""
        return len(next(iter(self._arrays.values())))

    def embed(self, rows: np.ndarray) -> np.ndarray:
        """Returns [N, D] float32 embeddings of these rows, of unit length or 0."""
        blocks = []
        for start in range(0, len(rows), self._batch_size):
            some = rows[start : start + self._batch_size]
            inputs = {
                name: tf.constant(np.asarray(array[some], self._types[name]))
                for name, array in self._arrays.items()
            }
            blocks.append(tf.cast(self.forward(inputs), tf.float32).numpy())
        # Half precision leaves lengths a little off 1.
        return _unit_length(np.concatenate(blocks))

    def distances(self, anchors: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Returns the [N] L2 distances of pairs of rows; each row is embedded once."""
        rows, places = np.unique(np.concatenate([anchors, others]), return_inverse=True)
        first, second = np.split(self.embed(rows)[places], 2)
        return np.linalg.norm(first - second, axis=1)


def _unit_length(embeddings: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(lengths > 0, lengths, 1.0)
