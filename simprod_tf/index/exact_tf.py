"""TensorFlowExactIndex: exact search on TensorFlow, on a GPU where there is one.

Importing this module does not import TensorFlow; the first search does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from simprod_tf.index.exact import ExactIndex
from simprod_tf.index.folder import Stored
from simprod_tf.index.rows import Change
from simprod_tf.index.vectors import DOT_MARGIN, Neighbours, nearest_candidates

# Dot products held at once: 32 MB on a CPU, 256 MB on a GPU.
_BLOCK_SCORES = 1 << 23
_BLOCK_SCORES_GPU = 1 << 26
# NVIDIA's TF32 keeps 10 bits of each factor's fraction: a dot product of unit vectors
# is off by 2^-10 at most, the difference of two by twice that.
_TF32_MARGIN = 2.0**-9


class TensorFlowExactIndex(ExactIndex):
    """Gives the answers of `ExactIndex`, candidates being found by TensorFlow.

    Made for searching a whole catalogue with itself. The embeddings are copied to the
    device at the first search, and at the first after a change; beside them it holds
    the dot products of a block of queries, and the several-fold of these where most
    products are the same.
    """

    kind = "exact-tf"

    def __init__(self, stored: Stored) -> None:
        """Takes over what `build` or `load_index` checked."""
        super().__init__(stored)
        self._on_device: Any = None

    def _took_in(self, change: Change, vectors: np.ndarray) -> None:
        self._on_device = None

    def _let_go(self, rows: Sequence[int]) -> None:
        self._on_device = None

    def _nearest(self, queries: np.ndarray, k: int) -> Neighbours:
        import tensorflow as tf

        embeddings = self._on_device
        if embeddings is None:
            embeddings = self._on_device = tf.constant(self._rows.embeddings)
        scores, margin = _limits(tf)
        step = max(1, scores // len(self))
        found = []
        for start in range(0, len(queries), step):
            part = queries[start : start + step]
            lines, rows = _candidates(tf, part, embeddings, k=k, margin=margin)
            found.append(
                nearest_candidates(
                    part, self._rows.embeddings, lines=lines, rows=rows, k=k
                )
            )
        return Neighbours(
            np.concatenate([one.rows for one in found]),
            np.concatenate([one.distances for one in found]),
        )


def _limits(tf: Any) -> tuple[int, float]:
    """Returns how many dot products are held at once, and how far they may be off."""
    if not tf.config.list_logical_devices("GPU"):
        return _BLOCK_SCORES, DOT_MARGIN
    if not tf.config.experimental.tensor_float_32_execution_enabled():
        return _BLOCK_SCORES_GPU, DOT_MARGIN
    return _BLOCK_SCORES_GPU, DOT_MARGIN + _TF32_MARGIN


def _candidates(
    tf: Any, queries: np.ndarray, embeddings: Any, *, k: int, margin: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (lines, rows), both [C] int64, holding each query's k nearest rows."""
    dots = tf.matmul(tf.constant(queries), embeddings, transpose_b=True)
    # All that may be as near as the k-th: ties are then broken by row, not by the
    # order in which the matrix product rounded.
    lowest = tf.math.top_k(dots, k).values[:, -1:] - margin
    lines, rows = tf.unstack(tf.where(dots >= lowest), num=2, axis=1)
    return lines.numpy(), rows.numpy()
