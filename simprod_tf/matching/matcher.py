"""The similar products of every product of an index, as one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from simprod_tf.index.base import Index
from simprod_tf.matching.calibration import Calibration
from simprod_tf.matching.threshold import Decision

SCHEMA = pa.schema(
    [
        ("query_id", pa.string()),
        ("id", pa.string()),
        ("rank", pa.int32()),
        ("distance", pa.float32()),
        ("probability", pa.float32()),
    ]
)
_BLOCK = 8192
Progress = Callable[[int, int], None]
# Query row, row, rank and distance of each match.
_Edges = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def find_matches(
    index: Index,
    *,
    k: int,
    max_distance: float,
    decision: Decision | Calibration | None = None,
    mutual: bool = False,
    queries: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """Returns every product's similar products, with the columns of `SCHEMA`.

    Rows stand in the order of the queries, nearest first; a product does not match
    itself. Beside the table, memory holds one block of 8,192 queries.

    Args:
        index: the products.
        k: how many similar products one may have, at most.
        max_distance: how far they may lie, at most; a decision has one to offer.
        decision: gives the probabilities, null without it; so does a `Calibration`.
        mutual: keep a match only where each of the two is among the other's k nearest.
            Ranks stay as they were without this.
        queries: the ids to find matches for, by default all.
        progress: called with (queries done, queries in all) after each block.
    """
    if not k >= 1 or not max_distance >= 0:
        raise ValueError(
            "k must be at least 1 and max_distance at least 0, "
            f"got {k} and {max_distance}."
        )
    wanted = np.arange(len(index))
    if queries is not None:
        wanted = index.rows_of(list(dict.fromkeys(queries)))
    edges = _edges(index, wanted, k=k, max_distance=max_distance, progress=progress)
    if mutual:
        edges = _mutual_edges(index, wanted, edges, k=k, max_distance=max_distance)
    return _table(index, edges, decision)


def is_mutual(starts: np.ndarray, ends: np.ndarray, *, n: int) -> np.ndarray:
    """Returns [E] bool: whether the edge stands there in the other direction, too.

    Args:
        starts: [E] int64 rows below n.
        ends: [E] int64 rows below n.
        n: the number of products.
    """
    return np.isin(ends * n + starts, starts * n + ends)


def _edges(
    index: Index,
    wanted: np.ndarray,
    *,
    k: int,
    max_distance: float,
    progress: Progress | None,
) -> _Edges:
    parts = []
    for start in range(0, len(wanted), _BLOCK):
        block = wanted[start : start + _BLOCK]
        parts.append(_block_edges(index, block, k=k, max_distance=max_distance))
        if progress is not None:
            progress(start + len(block), len(wanted))
    if not parts:
        none = np.empty(0, np.int64)
        return none, none, none.astype(np.int32), none.astype(np.float32)
    starts, ends, ranks, distances = (np.concatenate(part) for part in zip(*parts))
    return starts, ends, ranks, distances


def _block_edges(
    index: Index, block: np.ndarray, *, k: int, max_distance: float
) -> _Edges:
    # One more than k, since the product itself is among them.
    width = min(k + 1, len(index))
    found = index.search_rows(index.embeddings[block], k=width)
    other = (found.rows >= 0) & (found.rows != block[:, None])
    ranks = np.cumsum(other, axis=1, dtype=np.int32)
    # As float64: a threshold is not rounded to float32 before it is compared.
    near = found.distances.astype(np.float64) <= max_distance
    lines, places = np.nonzero(other & near & (ranks <= k))
    at = lines, places
    return block[lines], found.rows[at], ranks[at], found.distances[at]


def _mutual_edges(
    index: Index, wanted: np.ndarray, edges: _Edges, *, k: int, max_distance: float
) -> _Edges:
    starts, ends, ranks, distances = edges
    unasked = np.setdiff1d(ends, wanted)
    back = _edges(index, unasked, k=k, max_distance=max_distance, progress=None)
    both = is_mutual(
        np.concatenate([starts, back[0]]),
        np.concatenate([ends, back[1]]),
        n=len(index),
    )[: len(starts)]
    return starts[both], ends[both], ranks[both], distances[both]


def _table(
    index: Index, edges: _Edges, decision: Decision | Calibration | None
) -> pa.Table:
    starts, ends, ranks, distances = edges
    ids = pa.array(index.ids, pa.string())
    if decision is None:
        probabilities = pa.nulls(len(starts), pa.float32())
    else:
        values = decision.probability(distances).astype(np.float32)
        probabilities = pa.array(values)
    columns = [
        ids.take(pa.array(starts)),
        ids.take(pa.array(ends)),
        pa.array(ranks, pa.int32()),
        pa.array(distances, pa.float32()),
        probabilities,
    ]
    return pa.table(columns, schema=SCHEMA)
