"""The two sides of a search, queries and candidates, as numbers that compare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simprod_tf.index.vectors import UNIT_TOLERANCE

# As good as float32 gets: above it, dot products would order unlike distances.
_RESCALE_FROM = 1e-6
_BLOCK_ROWS = 1 << 14
# The distance of a pair if nothing is known of one product: as far as can be.
FARTHEST = 2.0


@dataclass(frozen=True, eq=False)
class Side:
    """Queries or candidates.

    Attributes:
        embeddings: [B, D] float32, of unit length, or zero where nothing is known.
        groups, ids: [B] int64, equal where the values are.
    """

    embeddings: np.ndarray
    groups: np.ndarray
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.groups)

    def take(self, rows: np.ndarray | slice) -> Side:
        """Returns the products in these rows."""
        return Side(self.embeddings[rows], self.groups[rows], self.ids[rows])

    def known(self) -> np.ndarray:
        """Returns [B] bool: False where the embedding is zero."""
        return known_rows(self.embeddings)


@dataclass(frozen=True, eq=False)
class Members:
    """Rows of candidates, sorted by group: [P] groups and [P] rows."""

    groups: np.ndarray
    rows: np.ndarray

    @classmethod
    def by_group(cls, groups: np.ndarray) -> Members:
        """Returns the members of each group, by rising row."""
        order = np.argsort(groups, kind="stable")
        return cls(groups[order], order)

    def of(self, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns (lines, rows), both [C] int64: the members of each of B groups."""
        starts = self.groups.searchsorted(groups, "left")
        sizes = self.groups.searchsorted(groups, "right") - starts
        lines = np.repeat(np.arange(len(groups)), sizes)
        shifts = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
        return lines, self.rows[shifts + np.arange(len(lines))]


def known_rows(embeddings: np.ndarray) -> np.ndarray:
    """Returns [B] bool: False where an embedding [B, D] is zero, nothing being known.

    All others are of unit length.
    """
    return np.asarray(np.einsum("ij,ij->i", embeddings, embeddings) > 0.25)


def pair_distances(
    anchors: np.ndarray, others: np.ndarray, *, rows: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Returns [N] float64 L2 distances, `FARTHEST` where nothing is known of one.

    Two zero vectors would be 0 apart: the most alike of all.

    Args:
        anchors: [A, D] float32, unit length, or zero where nothing is known.
        others: [B, D] likewise.
        rows: two [N] int64, the row of each pair in `anchors` and in `others`.
    """
    distances = np.empty(len(rows[0]))
    for start in range(0, len(distances), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        one, two = anchors[rows[0][part]], others[rows[1][part]]
        apart = np.linalg.norm(one - two, axis=1)
        distances[part] = np.where(known_rows(one) & known_rows(two), apart, FARTHEST)
    return distances


def numbered(
    first: npt.ArrayLike, second: npt.ArrayLike, *, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as int64 numbers from 0 up, equal where the values are."""
    first_array, second_array = np.asarray(first), np.asarray(second)
    if first_array.ndim != 1 or second_array.ndim != 1:
        raise ValueError(
            f"{name} must be one-dimensional, got shapes {first_array.shape} and "
            f"{second_array.shape}."
        )
    both = np.concatenate([first_array, second_array])
    numbers = np.unique(both, return_inverse=True)[1].astype(np.int64)
    return numbers[: len(first_array)], numbers[len(first_array) :]


def checked_side(
    embeddings: np.ndarray, groups: np.ndarray, ids: np.ndarray, *, name: str
) -> Side:
    """Returns one side, its vectors float32; the very array where nothing is amiss.

    Raises:
        ValueError: the shapes do not fit, or a length is neither 1 nor 0.
    """
    vectors = np.asarray(embeddings, np.float32)
    if vectors.ndim != 2 or not len(vectors) == len(groups) == len(ids):
        raise ValueError(
            f"{name}_embeddings must be [rows, D] with one group and id a row, got "
            f"shape {vectors.shape}, {len(groups)} groups and {len(ids)} ids."
        )
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    off = np.abs(lengths - 1)
    # Zero is allowed: an encoder's answer to a product of which it knows nothing.
    wrong = np.flatnonzero(~((off <= UNIT_TOLERANCE) | (lengths == 0)))
    if len(wrong):
        raise ValueError(
            f"{name}_embeddings must be of unit length, or zero, got a length of "
            f"{lengths[wrong[0]]:.4g}."
        )
    far = np.flatnonzero((off > _RESCALE_FROM) & (lengths > 0))
    if len(far):
        vectors = np.array(vectors)
        vectors[far] = vectors[far] / lengths[far, None]
    return Side(vectors, groups, ids)
