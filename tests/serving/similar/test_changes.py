"""Changes: what a product must be to be logged, and what the log gives back."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.serving.protos import similar_products_pb2 as pb
from simprod_tf.serving.similar.changes import (
    added,
    attribute_table,
    logged_embeddings,
    removed,
)

EYE = np.eye(2, dtype=np.float32)


def product(id, **attributes):
    one = pb.NewProduct(id=id)
    one.product.attributes.update(attributes)
    return one


def table_of(type_, *values):
    """Returns the column `x` of products with these values, of this type."""
    products = [product(str(row), x=value) for row, value in enumerate(values)]
    schema = pa.schema([pa.field("x", type_)])
    return attribute_table(products, schema)["x"].to_pylist()


def test_the_record_holds_the_product_and_its_embedding():
    change = added(
        [product("a", price=3), product("b")],
        EYE,
        schema=None,
        encoder_fingerprint="f",
    )
    logged = pb.LogRecord.FromString(change.record).added
    assert [one.id for one in logged.products] == ["a", "b"]
    assert logged.products[0].product.attributes["price"] == 3
    np.testing.assert_array_equal(logged_embeddings(logged), EYE)


def test_the_record_of_a_removal_holds_the_ids():
    assert pb.LogRecord.FromString(removed(["a"]).record).removed.ids == ["a"]


@pytest.mark.parametrize(
    ("ids", "message"),
    [(["a", "a"], "got 'a' twice"), (["a", ""], "non-empty strings, got ''")],
)
def test_ids_are_there_once(ids, message):
    with pytest.raises(ValueError, match=message):
        removed(ids)
    with pytest.raises(ValueError, match=message):
        added([product(id) for id in ids], EYE, schema=None, encoder_fingerprint="f")


def test_an_embedding_of_another_length_is_refused():
    with pytest.raises(ValueError, match="vector of a has length 2, expected 1"):
        added([product("a")], EYE[:1] * 2, schema=None, encoder_fingerprint="f")


def test_attributes_take_the_types_of_the_index():
    assert table_of(pa.float64(), 1.5, None) == [1.5, None]
    assert table_of(pa.int64(), 3) == [3]
    assert table_of(pa.bool_(), True) == [True]
    assert table_of(pa.string(), "red") == ["red"]
    assert table_of(pa.date32(), "2024-02-01") == [datetime.date(2024, 2, 1)]
    assert table_of(pa.dictionary(pa.int8(), pa.string()), "red", None) == ["red", None]


def test_what_the_index_lacks_is_left_out_and_what_a_product_lacks_is_null():
    schema = pa.schema([("price", pa.float64())])
    found = attribute_table([product("a", colour="red")], schema)
    assert found.to_pydict() == {"price": [None]}


@pytest.mark.parametrize(
    ("type_", "value", "shown"),
    [
        (pa.float64(), "cheap", "'cheap'"),
        (pa.float64(), True, "True"),
        (pa.int64(), 1.5, "1.5"),
        (pa.string(), 5, "5.0"),
        (pa.string(), ["red"], "a structure"),
        (pa.bool_(), "yes", "'yes'"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_product(type_, value, shown):
    message = f"product '1' has x {shown}, but the index holds x as {type_}"
    with pytest.raises(ValueError, match=message.replace("[", "\\[")):
        table_of(type_, None, value)


def test_nan_is_missing():
    assert table_of(pa.float64(), float("nan")) == [None]
