"""The rank of the first right candidate, however far down it stands.

A ranking of all candidates need not be made for it: the candidates that are nearer than
the nearest right one are counted, block by block.
"""

from __future__ import annotations

import numpy as np

from simprod_tf.evaluation.sides import Members, Side
from simprod_tf.index.vectors import DOT_MARGIN, Neighbours, nearest_candidates

# Dot products held at once: 32 MB.
_BLOCK_SCORES = 1 << 23


def far_first_ranks(queries: Side, candidates: Side, members: Members) -> np.ndarray:
    """Returns [B] int64 ranks from 1, by (distance, row); 0 where none can be found.

    Args:
        queries: B queries, each of unit length.
        candidates: those that can be found, of unit length.
        members: the candidates by group.
    """
    ranks = np.zeros(len(queries), np.int64)
    if not len(candidates):
        return ranks
    step = max(1, _BLOCK_SCORES // len(candidates))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        ranks[part] = _ranks(queries.take(part), candidates, members)
    return ranks


def _ranks(queries: Side, candidates: Side, members: Members) -> np.ndarray:
    lines, rows = members.of(queries.groups)
    another = queries.ids[lines] != candidates.ids[rows]
    first = _nearest(queries, candidates, lines[another], rows[another], k=1)
    best = first.rows[:, 0]
    dots = queries.embeddings @ candidates.embeddings.T
    at_best = dots[np.arange(len(dots)), np.maximum(best, 0)][:, None]
    margin = np.float32(DOT_MARGIN)
    lines, rows = np.nonzero(dots >= at_best - margin)
    another = queries.ids[lines] != candidates.ids[rows]
    lines, rows = lines[another], rows[another]
    # Far enough above the best right one, dot products do not mistake the order.
    sure = dots[lines, rows] > at_best[lines, 0] + margin
    nearer = np.bincount(lines[sure], minlength=len(dots))
    lines, rows = lines[~sure], rows[~sure]
    widest = int(np.bincount(lines, minlength=len(dots)).max(initial=1))
    close = _nearest(queries, candidates, lines, rows, k=max(1, widest))
    place = (close.rows == best[:, None]).argmax(axis=1)
    return np.where(best >= 0, nearer + place + 1, 0)


def _nearest(
    queries: Side, candidates: Side, lines: np.ndarray, rows: np.ndarray, *, k: int
) -> Neighbours:
    return nearest_candidates(
        queries.embeddings, candidates.embeddings, lines=lines, rows=rows, k=k
    )
