from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.decider.evidence import (
    EVIDENCE,
    PreparedProducts,
    Vocabulary,
    evidence,
)


def made_catalog(titles, **columns):
    blank = text_array([""] * len(titles))
    ids = text_array([f"p{row}" for row in range(len(titles))])
    arrays = {name: pa.array(values) for name, values in columns.items()}
    return Catalog(ids, text_array(titles), blank, blank, pa.table(arrays))


@pytest.fixture(scope="session")
def catalog_of():
    """Makes a catalogue of titles and columns."""
    return made_catalog


@pytest.fixture(scope="session")
def prepared():
    """Makes prepared products of titles and columns; every word has an IDF of ln 2."""

    def make(titles, **columns):
        vocabulary = Vocabulary({}, num_products=1)
        return PreparedProducts.prepare(made_catalog(titles, **columns), vocabulary)

    return make


@pytest.fixture(scope="session")
def told(prepared):
    """Makes the evidence of products 0 and 1, by name."""

    def make(titles, **columns):
        products = prepared(titles, **columns)
        row = evidence(products, np.array([0]), np.array([1]))[0]
        return dict(zip(EVIDENCE, row.tolist()))

    return make
