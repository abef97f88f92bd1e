"""Ids and unit-length vectors, checked at the door; exact distances between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Encoders compute in float32, some in bfloat16: their unit length is this good.
UNIT_TOLERANCE = 1e-3
# Below this a row is kept bit for bit, so that a stored vector, asked for and
# searched with, is at distance 0 from itself.
_RESCALE_FROM = 1e-6
# Two dot products of vectors as unit as _RESCALE_FROM can come out in the wrong
# order, against their L2 distances, by that much and by float32 rounding.
DOT_MARGIN = 1e-5
# From here on, distances come from differences.
CLOSE_DOT = 0.995
_BLOCK_VALUES = 1 << 22
# Dot products held at once: 32 MB.
_BLOCK_SCORES = 1 << 23
_MIN_GROUPS = 1024
_FLOAT32 = np.dtype(np.float32)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest rows of an index, one line per query, nearest first.

    Attributes:
        rows: [Q, k] int64 positions in `Index.ids`; -1 where there are fewer than k.
        distances: [Q, k] float32 L2 distances in [0, 2]; inf where the row is -1.
    """

    rows: np.ndarray
    distances: np.ndarray


def no_neighbours(num_queries: int, k: int) -> Neighbours:
    """Returns that none of the queries has a neighbour, as k columns of padding."""
    shape = num_queries, k
    return Neighbours(np.full(shape, -1, np.int64), np.full(shape, np.inf, np.float32))


def padded(found: Neighbours, k: int) -> Neighbours:
    """Returns an answer of k columns; those that were not there hold nothing."""
    missing = ((0, 0), (0, k - found.rows.shape[1]))
    if not missing[1][1]:
        return found
    return Neighbours(
        np.pad(found.rows, missing, constant_values=-1),
        np.pad(found.distances, missing, constant_values=np.inf),
    )


def checked_ids(ids: Sequence[str]) -> tuple[str, ...]:
    """Returns the ids if they are non-empty strings, each there once."""
    checked = tuple(ids)
    for row, id in enumerate(checked):
        if not isinstance(id, str) or not id:
            raise ValueError(f"Ids are non-empty strings, got {id!r} at row {row}.")
    if len(set(checked)) < len(checked):
        twice = Counter(checked).most_common(1)[0][0]
        raise ValueError(f"Every id may stand once in an index, got {twice!r} twice.")
    return checked


def checked_vectors(
    vectors: np.ndarray, *, names: Sequence[str], dim: int | None = None
) -> np.ndarray:
    """Returns a [len(names), D] float32 copy whose rows have unit length.

    Args:
        vectors: [N, D] float32, unit length within 1e-3.
        names: what an error calls each row.
        dim: D, where it is known.

    Raises:
        ValueError, TypeError: another type or shape, a NaN, or a length that is not 1.
    """
    if not isinstance(vectors, np.ndarray) or vectors.dtype != np.float32:
        found = getattr(vectors, "dtype", type(vectors).__name__)
        raise TypeError(
            f"Vectors are a float32 array, got {found}; use .astype(np.float32)."
        )
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise ValueError(f"Vectors have shape [N, D], got {list(vectors.shape)}.")
    if dim is not None and vectors.shape[1] != dim:
        raise ValueError(f"Vectors have {dim} dimensions, got {vectors.shape[1]}.")
    if len(vectors) != len(names):
        raise ValueError(f"Got {len(vectors)} vectors for {len(names)} ids.")
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    _require_unit(lengths, names)
    checked = np.array(vectors, order="C")
    off = np.flatnonzero(np.abs(lengths - 1) > _RESCALE_FROM)
    checked[off] = checked[off] / lengths[off, None]
    return checked


def is_unit_query(queries: np.ndarray, dim: int) -> bool:
    """Returns whether this is one query, [1, dim] float32, of which nothing is wrong.

    ScaNN answers one query in 20 us; so this takes 1.
    """
    return (
        isinstance(queries, np.ndarray)
        and queries.dtype is _FLOAT32
        and queries.shape == (1, dim)
        and bool(abs(float(queries[0].dot(queries[0])) - 1) <= _RESCALE_FROM)
    )


def checked_queries(
    queries: np.ndarray, *, names: Sequence[str] | None, dim: int
) -> np.ndarray:
    """Returns checked queries; themselves, where nothing is to be mended.

    Args and errors are those of `checked_vectors`; a query without a name is called
    "query 0" and so on.
    """
    if is_unit_query(queries, dim):
        return queries
    if names is None:
        names = [f"query {line}" for line in range(len(queries))]
    return checked_vectors(queries, names=names, dim=dim)


def _require_unit(lengths: np.ndarray, names: Sequence[str]) -> None:
    # NaN compares as False, so it is found here as well.
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= UNIT_TOLERANCE))
    if not len(wrong):
        return
    name, length = names[wrong[0]], lengths[wrong[0]]
    if np.isnan(length):
        raise ValueError(f"The vector of {name} holds NaN.")
    raise ValueError(
        f"The vector of {name} has length {length:.4g}, expected 1; "
        "divide it by its length."
    )


def nearest_rows(queries: np.ndarray, embeddings: np.ndarray, *, k: int) -> Neighbours:
    """Returns each query's min(k, N) nearest rows, for certain, by (distance, row).

    Args:
        queries: [Q, D] float32, unit length.
        embeddings: [N, D] float32, unit length, N at least 1.
        k: how many rows a query, at least 1.
    """
    k = min(k, len(embeddings))
    rows = np.empty((len(queries), k), np.int64)
    distances = np.empty((len(queries), k), np.float32)
    step = max(1, _BLOCK_SCORES // len(embeddings))
    for start in range(0, len(queries), step):
        part = queries[start : start + step]
        lines, candidates = candidates_by_dot(part, embeddings, k=k)
        found = nearest_candidates(part, embeddings, lines=lines, rows=candidates, k=k)
        rows[start : start + step] = found.rows
        distances[start : start + step] = found.distances
    return Neighbours(rows, distances)


def candidates_by_dot(
    queries: np.ndarray, embeddings: np.ndarray, *, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (lines, rows), both [C] int64, holding each query's k nearest rows.

    All that may be as near as the k-th are there: ties are then broken by row, not by
    the order in which the matrix product rounded. 1 <= k <= N.
    """
    dots = queries @ embeddings.T
    lowest = _bound(dots, k) - np.float32(DOT_MARGIN)
    lines, rows = np.nonzero(dots >= lowest[:, None])
    return lines, rows


def _bound(dots: np.ndarray, k: int) -> np.ndarray:
    """Returns [Q] bounds, each at most the k-th largest of its line of [Q, N] dots.

    The k-th largest of a few group maxima is such a bound, a close one, and costs a
    tenth of a partial sort of the line. A group's rows lie far apart, since a
    catalogue's neighbouring rows are often alike.
    """
    num_groups = min(dots.shape[1], max(_MIN_GROUPS, 16 * k))
    depth = dots.shape[1] // num_groups
    groups = dots[:, : depth * num_groups].reshape(len(dots), depth, num_groups)
    best = groups.max(axis=1)
    return np.partition(best, num_groups - k, axis=1)[:, num_groups - k]


def nearest_candidates(
    queries: np.ndarray,
    embeddings: np.ndarray,
    *,
    lines: np.ndarray,
    rows: np.ndarray,
    k: int,
) -> Neighbours:
    """Returns the k nearest of each query's candidates, by (distance, row).

    Args:
        queries: [Q, D] float32, unit length.
        embeddings: [N, D] float32, unit length.
        lines: [C] int, which query each candidate is for.
        rows: [C] int, the candidate's row in `embeddings`.
        k: how many to keep.
    """
    distances = _distances(queries, embeddings, lines=lines, rows=rows)
    order = np.lexsort((rows, distances, lines))
    lines, rows, distances = lines[order], rows[order], distances[order]
    starts = np.searchsorted(lines, np.arange(len(queries)))
    places = np.arange(len(lines)) - starts[lines]
    kept = places < k
    found = no_neighbours(len(queries), k)
    found.rows[lines[kept], places[kept]] = rows[kept]
    found.distances[lines[kept], places[kept]] = distances[kept]
    return found


def _distances(
    queries: np.ndarray, embeddings: np.ndarray, *, lines: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Returns [C] float32 L2 distances between queries[lines] and embeddings[rows]."""
    distances = np.empty(len(rows), np.float32)
    step = max(1, _BLOCK_VALUES // queries.shape[1])
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        # From the difference: sqrt(2 - 2 dot) is off by 3e-4 for equal vectors.
        difference = embeddings[rows[part]] - queries[lines[part]]
        distances[part] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return np.minimum(distances, np.float32(2.0))


def settled_neighbours(
    queries: np.ndarray, embeddings: np.ndarray, *, rows: np.ndarray, dots: np.ndarray
) -> Neighbours:
    """Returns neighbours by (distance, row) from dot products, highest first.

    sqrt(2 - 2 dot) loses its digits where it nears 0: there the distance comes from the
    difference of the vectors. Elsewhere the two agree within 1e-5.

    Args:
        queries: [Q, D] float32, unit length.
        embeddings: [N, D] float32, unit length.
        rows: [Q, k] int64.
        dots: [Q, k] float32, of each query and row, falling.
    """
    # For ties, nothing may come of rounding: sort wherever one is possible.
    sort = bool((dots[:, 1:] >= dots[:, :-1]).any())
    close = dots > CLOSE_DOT
    if close[:, 0].any():
        distances = np.sqrt(np.maximum(2 - 2 * dots, np.float32(0)))
        lines, places = close.nonzero()
        difference = embeddings[rows[lines, places]] - queries[lines]
        distances[lines, places] = np.sqrt(
            np.einsum("ij,ij->i", difference, difference)
        )
        sort = sort or bool((distances[:, 1:] <= distances[:, :-1]).any())
    else:
        distances = np.sqrt(2 - 2 * dots)
    if sort:
        order = np.lexsort((rows, distances), axis=-1)
        rows = np.take_along_axis(rows, order, axis=1)
        distances = np.take_along_axis(distances, order, axis=1)
    return Neighbours(rows, distances)
