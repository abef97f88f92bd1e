"""Labels that other labels imply: what is the same as the same thing is the same."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from simprod_tf.decider.graph import PairGraph


def implied_pairs(
    graph: PairGraph,
    rows: np.ndarray,
    labels: np.ndarray,
    *,
    held_out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the candidate pairs whose label follows from others, and their labels.

    Products that similar pairs join are one thing: two of them are similar. Where a
    dissimilar pair lies between two things, so are all pairs between these. Where both
    follow, the labels contradict each other, and nothing does.

    Args:
        graph: The candidate pairs.
        rows: [P, 2] rows of the labelled pairs.
        labels: [P], 1 = similar, 0 = not.
        held_out: [H, 2] rows of pairs that must not be learned from, or None.

    Returns:
        [I] rows of the graph, none of them labelled itself, and [I] labels.
    """
    similar = rows[labels == 1]
    joined = sp.coo_matrix(
        (np.ones(len(similar)), similar.T), shape=(graph.num_products,) * 2
    )
    things = connected_components(joined, directed=False)[1]
    between = _codes(things[rows[labels == 0]], graph.num_products)
    of_pairs = things[graph.ends]
    same = of_pairs[:, 0] == of_pairs[:, 1]
    apart = np.isin(_codes(of_pairs, graph.num_products), between)
    free = same ^ apart
    for known in (rows, held_out):
        if known is not None:
            found = graph.find(*np.asarray(known, np.int64).T)
            free[found[found >= 0]] = False
    pairs = np.flatnonzero(free)
    return pairs, same[pairs].astype(np.int64)


def _codes(pairs: np.ndarray, number: int) -> np.ndarray:
    ordered = np.sort(pairs.astype(np.int64), axis=1)
    return ordered[:, 0] * number + ordered[:, 1]
