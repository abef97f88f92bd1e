"""Components of edges and of similar pairs, worked out by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.components import components, similar_components, similar_edges
from simprod_tf.data.pairs import canonical_pairs


def test_rows_hang_together_over_others():
    edges = np.array([[0, 3], [3, 1], [4, 4]], np.int64)
    assert components(edges, 5).tolist() == [0, 0, 1, 0, 2]


def test_without_edges_each_row_is_alone():
    assert components(np.zeros((0, 2), np.int64), 3).tolist() == [0, 1, 2]


def test_only_similar_pairs_tie_products():
    ids, none = text_array(["a", "b", "c", "d"]), text_array([""] * 4)
    catalog = Catalog(ids, none, none, none, pa.table({}))
    pairs = canonical_pairs(["d", "a", "b"], ["a", "b", "c"], [1, 0, 1])
    assert sorted(map(tuple, similar_edges(catalog, pairs).tolist())) == [
        (0, 3),
        (1, 2),
    ]
    assert similar_components(catalog, pairs).tolist() == [0, 1, 1, 0]
