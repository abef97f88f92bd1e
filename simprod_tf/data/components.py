"""What hangs together: connected components of products."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from simprod_tf.data.catalog import Catalog
from simprod_tf.data.pairs import Pairs


def components(edges: np.ndarray, size: int) -> np.ndarray:
    """Returns the [size] component number of each row, of [E, 2] int64 edges."""
    ends = edges[:, 0], edges[:, 1]
    graph = coo_matrix((np.ones(len(edges)), ends), (size, size))
    return connected_components(graph, directed=False)[1]


def similar_edges(catalog: Catalog, pairs: Pairs) -> np.ndarray:
    """Returns [E, 2] int64 rows of the pairs that are labelled similar."""
    similar = pairs.where(pairs.labels == 1)
    ends = similar.anchor_ids, similar.other_ids
    return np.stack([catalog.rows_of(ids) for ids in ends], axis=1)


def similar_components(catalog: Catalog, pairs: Pairs) -> np.ndarray:
    """Returns the [P] number of what hangs together by similar pairs."""
    return components(similar_edges(catalog, pairs), len(catalog))
