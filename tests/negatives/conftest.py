"""Small catalogues for the tests of negatives."""

from __future__ import annotations

import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array


@pytest.fixture
def make_catalog():
    """Returns a catalogue of p0, p1, ...; all titles and groups empty by default."""

    def make(size, *, titles=None, groups=None, **columns):
        empty = [""] * size
        return Catalog(
            text_array([f"p{i}" for i in range(size)]),
            text_array(titles or empty),
            text_array(empty),
            text_array(groups or empty),
            pa.table(columns),
        )

    return make


@pytest.fixture
def pair_set():
    """Returns pairs as a set of (anchor, other)."""
    return lambda pairs: set(zip(pairs.anchor_ids, pairs.other_ids))
