"""What an encoder says of a pair: cosines, and how its embeddings differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

_OF_A_VIEW = ("cosine", "most_apart", "apart_in_most", "most_shared")
# Of all dimensions, those that make up the larger part of a difference.
_TOP = 8


def embedding_names(views: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the columns of `embedding_evidence`."""
    return tuple(f"{view}_embedding_{what}" for view in views for what in _OF_A_VIEW)


def embedding_evidence(
    embeddings: Mapping[str, np.ndarray], starts: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Returns [P, 4 V] float32, NaN where a view does not know one of the two.

    Of each view the `cosine` of the embeddings u and v; of |u - v| the largest value
    (`most_apart`) and the share of its square in the 8 largest (`apart_in_most`: few
    traits differ, or many); of u * v the largest value (`most_shared`).

    Args:
        embeddings: by view [N, D] float32 of unit length, zeros for what is not known.
        starts: [P] rows.
        ends: [P] rows.
    """
    columns = []
    for vectors in embeddings.values():
        u, v = vectors[starts], vectors[ends]
        known = u.any(axis=1) & v.any(axis=1)
        shared, apart = u * v, np.abs(u - v)
        squares = np.sort(np.square(apart), axis=1)[:, ::-1]
        total = np.maximum(squares.sum(axis=1), np.finfo(np.float32).tiny)
        found = (
            shared.sum(axis=1),
            apart.max(axis=1, initial=0.0),
            squares[:, :_TOP].sum(axis=1) / total,
            shared.max(axis=1, initial=-1.0),
        )
        columns += [np.where(known, one, np.nan) for one in found]
    if not columns:
        return np.zeros((len(starts), 0), np.float32)
    return np.stack(columns, axis=1).astype(np.float32)
