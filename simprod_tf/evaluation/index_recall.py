"""The share of the true nearest neighbours that an index finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simprod_tf.evaluation.interval import Interval, cluster_numbers
from simprod_tf.evaluation.section import mean_section, section_intervals
from simprod_tf.index.base import Index
from simprod_tf.index.vectors import nearest_rows

# float32 distances of the two searches, by other roads, differ by no more than this.
_ROUNDING = 1e-5
_BLOCK_QUERIES = 4096


@dataclass(frozen=True, eq=False)
class IndexRecall:
    """An index against exact search over the same products.

    Attributes:
        k: how many neighbours were asked for.
        shares: [Q] float64, of each query's k nearest products, the share that is
            found. A product as near as the k-th counts as well, whichever it is.
        recall: their mean, with its 95% interval.
    """

    k: int
    shares: np.ndarray
    recall: Interval


def index_recall(
    index: Index,
    queries: np.ndarray,
    *,
    k: int = 10,
    query_groups: npt.ArrayLike | None = None,
    seed: int = 0,
) -> IndexRecall:
    """Returns the recall@k of an index against exact search.

    Queries are best real ones: a product of the index finds itself, which every index
    manages; and what is not in the index lies farther from its partitions' centres.

    Args:
        index: with at least one product.
        queries: [Q, D] float32, unit length, Q at least 1.
        k: neighbours a query, at least 1.
        query_groups: [Q] clusters to resample; each query its own by default.
        seed: of the resampling.
    """
    if not len(queries) or not len(index):
        raise ValueError(
            f"there must be queries and products, got {len(queries)} and {len(index)}."
        )
    shares = np.concatenate(
        [
            _shares(index, queries[start : start + _BLOCK_QUERIES], k)
            for start in range(0, len(queries), _BLOCK_QUERIES)
        ]
    )
    groups = np.arange(len(queries)) if query_groups is None else query_groups
    section = mean_section({"recall": shares}, cluster_numbers(groups))
    return IndexRecall(k, shares, section_intervals(section, seed=seed)["recall"])


def _shares(index: Index, queries: np.ndarray, k: int) -> np.ndarray:
    found = index.search_rows(queries, k=k)
    nearest = nearest_rows(queries, index.embeddings, k=k)
    near = found.distances <= nearest.distances[:, -1:] + _ROUNDING
    return np.asarray((near & (found.rows >= 0)).sum(axis=1) / nearest.rows.shape[1])
