"""What an exported index computes: embedding -> ids and distances of the nearest.

`NeighboursModel` holds the ids and the answer's form; what proposes the candidates,
`ExactCandidates` or ScaNN (`simprod_tf.export.scann_model`), is handed to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

# Candidates beyond k, whose distances are computed: two float32 dot products come out
# in the wrong order now and then, and equal ones in any.
SPARE = 32
# Rows compared at once: 4 MB of dot products for 64 queries.
BLOCK_ROWS = 16_384
# As the index itself does: a stored embedding is not touched, so that it is at
# distance 0 from itself.
_RESCALE_FROM = 1e-6


class Candidates(Protocol):
    """What proposes rows for queries."""

    embeddings: tf.Variable

    def __call__(self, queries: tf.Tensor) -> tf.Tensor:
        """Returns [B, C] int32 rows, -1 where there is none, for [B, D] queries."""


class ExactCandidates(tf.Module):
    """The rows with the largest dot products, found block by block.

    Beside the embeddings it needs B x 16,384 dot products, whatever the catalogue. Of
    more than SPARE products that are equally far, to a rounding, others may come than
    those of the lowest rows.
    """

    def __init__(self, embeddings: np.ndarray, *, wanted: int) -> None:
        """Takes [N, D] float32 unit-length embeddings, N at least 1."""
        super().__init__(name="exact")
        # A variable, since a constant of over 2 GB cannot be saved.
        self.embeddings = tf.Variable(embeddings, trainable=False, name="embeddings")
        self._wanted = min(wanted, len(embeddings))

    def __call__(self, queries: tf.Tensor) -> tf.Tensor:
        """Returns [B, min(wanted, N)] int32 rows, the largest dot product first."""
        batch = tf.shape(queries)[0]
        state = (
            tf.constant(0),
            tf.zeros([batch, 0], tf.float32),
            tf.zeros([batch, 0], tf.int32),
        )
        any_width = tf.TensorShape([None, None])
        _, _, rows = tf.while_loop(
            lambda start, dots, rows: start < self.embeddings.shape[0],
            lambda start, dots, rows: self._with_block(queries, start, dots, rows),
            state,
            shape_invariants=(tf.TensorShape([]), any_width, any_width),
            parallel_iterations=1,
        )
        return tf.ensure_shape(rows, [None, self._wanted])

    def _with_block(
        self, queries: tf.Tensor, start: tf.Tensor, dots: tf.Tensor, rows: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the next start, and the best of what was found and of this block."""
        block = self.embeddings[start : start + BLOCK_ROWS]
        products = tf.matmul(queries, block, transpose_b=True)
        best, places = _top(products, self._wanted)
        # Earlier rows stand first, and of equals `top_k` keeps the first.
        dots = tf.concat([dots, best], axis=1)
        rows = tf.concat([rows, places + start], axis=1)
        dots, places = _top(dots, self._wanted)
        return start + BLOCK_ROWS, dots, tf.gather(rows, places, batch_dims=1)


class NeighboursModel(tf.Module):
    """Embeddings, or raw products -> ids and distances of the k nearest."""

    def __init__(
        self, ids: Sequence[str], candidates: Candidates, *, k: int, encoder: Any = None
    ) -> None:
        """Takes what it answers with, and builds its functions.

        Args:
            ids: N product ids, by row.
            candidates: proposes at least k rows, or all.
            k: how many products a query.
            encoder: an exported encoder as `tf.saved_model.load` gives it, or None.
        """
        super().__init__(name="neighbours")
        self.candidates = candidates
        self.ids = tf.constant(list(ids), tf.string)
        self._encoder: Any = None
        self.k = min(k, len(ids))
        dim = int(candidates.embeddings.shape[1])
        self.neighbours = tf.function(self._neighbours).get_concrete_function(
            embedding=tf.TensorSpec([None, dim], tf.float32, "embedding")
        )
        self.neighbours_of_product = None
        if encoder is not None:
            self._encoder = encoder.signatures["embed"]
            # What that one function reads, and not all the encoder's functions again.
            self.encoder_parts = [encoder.variables, encoder.parts]
            specs = self._encoder.structured_input_signature[1]
            self.neighbours_of_product = tf.function(
                self._neighbours_of_product
            ).get_concrete_function(**specs)

    def _neighbours(self, embedding: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the k nearest products, by (distance, row).

        Args:
            embedding: [B, D] float32; of any length, it is divided by it.

        Returns:
            `id` [B, k] string and `distance` [B, k] float32, in [0, 2]. An embedding of
            zeros (of a product of which nothing is known), one with NaN, and a place
            for which nothing was found have "" and inf.
        """
        queries, known = _unit_length(embedding)
        # Row order, so that of equal distances the lower row comes first.
        rows = tf.sort(self.candidates(queries), axis=1)
        found = tf.logical_and(known[:, tf.newaxis], rows >= 0)
        rows = tf.maximum(rows, 0)
        # Read as a whole, which copies nothing. Gathered from, a variable is copied at
        # each read ever after, those of the search too: 5 times slower.
        vectors = tf.gather(self.candidates.embeddings.read_value(), rows)
        # From the difference: sqrt(2 - 2 dot) is off by 3e-4 for equal vectors.
        distances = tf.norm(vectors - queries[:, tf.newaxis], axis=2)
        distances = tf.where(found, tf.minimum(distances, 2.0), np.inf)
        nearest, places = _top(-distances, self.k)
        rows = tf.gather(rows, places, batch_dims=1)
        found = tf.gather(found, places, batch_dims=1)
        return {
            "id": tf.where(found, tf.gather(self.ids, rows), ""),
            "distance": -nearest,
        }

    def _neighbours_of_product(self, **raw: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns what `_neighbours` does, for products as the encoder takes them.

        And `valid` [B] bool and `fault` [B] string: a product whose picture cannot be
        used finds nothing.
        """
        found = self._encoder(**raw)
        told = {name: found[name] for name in ("valid", "fault")}
        return {**self._neighbours(found["embedding"]), **told}


def _unit_length(vectors: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns [B, D] unit-length queries, and [B] bool: which could be made so.

    Those which could not, zeros or NaN, come back as zeros.
    """
    lengths = tf.norm(vectors, axis=1)
    known = tf.logical_and(tf.math.is_finite(lengths), lengths > 0)
    off = tf.abs(lengths - 1) > _RESCALE_FROM
    lengths = tf.where(tf.logical_and(known, off), lengths, 1.0)
    queries = vectors / lengths[:, tf.newaxis]
    return tf.where(known[:, tf.newaxis], queries, 0.0), known


def _top(values: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the k largest of each line, or all, and their places; ties by place."""
    found = tf.math.top_k(values, k=tf.minimum(k, tf.shape(values)[1]))
    return found.values, found.indices
