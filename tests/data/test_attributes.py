"""Attributes of a catalogue: text becomes numbers where all of it is numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.attributes import attributes_of
from simprod_tf.data.catalog import Catalog, read_catalog


def catalog_of(**columns):
    """A catalogue with these attributes."""
    num = len(next(iter(columns.values()), "ab"))
    ids = np.array([f"p{row}" for row in range(num)], object)
    blank = np.full(num, "", object)
    groups = np.array(["g1", ""] * num, object)[:num]
    return Catalog(ids, blank, blank, groups, pa.table(columns))


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["5", "20.5", ""], [5.0, 20.5, None]),
        ([" 7 ", "-1e3", None], [7.0, -1000.0, None]),
        (["0", "0.25", "+3"], [0.0, 0.25, 3.0]),
        (["0.30000000000000004", "1", "2"], [0.1 + 0.2, 1.0, 2.0]),
    ],
)
def test_numbers_in_text_are_float64(texts, values):
    column = attributes_of(catalog_of(price=texts))["price"]
    assert column.type == pa.float64()
    assert column.to_pylist() == values


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["5", "5,90", ""], ["5", "5,90", None]),
        (["red", " blue ", ""], ["red", "blue", None]),
        # A model number is no quantity.
        (["123", "0123", "7"], ["123", "0123", "7"]),
        (["1", "1234567890123456", "2"], ["1", "1234567890123456", "2"]),
        # NaN is greater than any price to DuckDB.
        (["1", "nan", "2"], ["1", "nan", "2"]),
        (["1", "inf", "2"], ["1", "inf", "2"]),
        (["", " ", None], [None, None, None]),
    ],
)
def test_what_is_not_all_numbers_stays_text(texts, values):
    column = attributes_of(catalog_of(word=texts))["word"]
    assert column.type == pa.string()
    assert column.to_pylist() == values


def test_columns_with_a_type_keep_it():
    found = attributes_of(
        catalog_of(
            stock=pa.array([1, None], pa.int32()),
            sold=[True, False],
            size=pa.array(["L", "M"]).dictionary_encode(),
            wide=pa.array(["1", "2"], pa.large_string()),
        )
    )
    assert found.schema.types == [pa.int32(), pa.bool_(), pa.string(), pa.float64()]
    assert found["size"].to_pylist() == ["L", "M"]


def test_columns_are_chosen_by_name_and_lists_are_left_out():
    catalog = catalog_of(brand=["a", "b"], price=["1", "2"], vector=[[1.0], [2.0]])
    assert attributes_of(catalog).column_names == ["brand", "price"]
    chosen = attributes_of(catalog, ["price", "group"])
    assert chosen.to_pydict() == {"price": [1.0, 2.0], "group": ["g1", None]}


def test_a_catalogue_without_attributes_has_none():
    assert attributes_of(catalog_of()).num_columns == 0


def test_an_unknown_column_is_refused_with_those_there_are():
    with pytest.raises(
        ValueError, match="no column 'colour'; the columns are: group, br"
    ):
        attributes_of(catalog_of(brand=["a"]), ["colour"])


def test_a_column_of_lists_is_refused():
    with pytest.raises(ValueError, match="'vector' holds list<.*takes single values"):
        attributes_of(catalog_of(vector=[[1.0]]), ["vector"])


def test_a_csv_catalogue(tmp_path):
    path = tmp_path / "catalog.csv"
    path.write_text("id,title,price,brand\na,x,5,Acme\nb,y,,\nc,z,7.5,7\n")
    found = attributes_of(read_catalog(path).catalog)
    assert found.to_pydict() == {
        "price": [5.0, None, 7.5],
        "brand": ["Acme", None, "7"],
    }
