"""Products as inputs of the encoder's head: titles, categories, numbers, vectors."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from simprod_tf.data.catalog import Product
from simprod_tf.data.vectors import VectorTable
from simprod_tf.errors import SimprodError
from simprod_tf.features.product_inputs import (
    CategoryInput,
    InputOps,
    NumberInput,
    ProductInputs,
    TextInput,
    VectorInput,
    category_input,
    known_products,
    number_points,
    product_arrays,
    raw_columns,
)

INPUTS = ProductInputs(
    TextInput(("red", "mug")),
    (CategoryInput("Brand", ("acme", "bolt")),),
    (NumberInput("price"),),
    (VectorInput("clip", 2),),
)
PRODUCTS = [
    Product("a", "Red mug, blue", attributes={"Brand": " ACME ", "price": "12.5"}),
    Product("b", "", attributes={"Brand": "Other"}),
    Product("c", "mug", attributes={"price": "0"}),
]
TABLES = {"clip": VectorTable("clip", ["c", "a"], np.array([[0.0, 0], [3, 4]]))}


def test_each_product_by_hand():
    arrays = product_arrays(PRODUCTS, INPUTS, TABLES)
    assert arrays["word_ids"].tolist() == [[1, 2], [0, 0], [2, 0]]
    assert arrays["brand_id"].tolist() == [[1], [0], [0]]
    assert arrays["price_number"].tolist() == [[12.5], [0], [0]]
    assert arrays["has_price"].tolist() == [[1], [0], [1]]
    assert arrays["clip_features"][:].tolist() == [[3, 4], [0, 0], [0, 0]]
    assert arrays["has_clip"].tolist() == [[1], [0], [0]]
    assert known_products(arrays).tolist() == [True, False, True]


def test_blocks_of_different_widths_are_joined():
    many = [Product(f"p{i}", "mug " * (1 + i // 4096)) for i in range(5000)]
    arrays = product_arrays(many, ProductInputs(TextInput(("mug",))))
    assert arrays["word_ids"].shape == (5000, 2)
    assert arrays["word_ids"][[0, 4095, 4096]].tolist() == [[1, 0], [1, 0], [1, 1]]


def test_no_product_is_no_row():
    arrays = product_arrays([], INPUTS)
    assert {len(array) for array in arrays.values()} == {0}


def test_the_graph_gives_what_the_arrays_hold():
    arrays = product_arrays(PRODUCTS, INPUTS, TABLES)
    raw = raw_columns(PRODUCTS, INPUTS, TABLES)
    ops = InputOps(INPUTS)
    specs = {"title": tf.TensorSpec([None], tf.string), **INPUTS.signature()}
    graph = tf.function(lambda **given: ops(given)).get_concrete_function(**specs)
    found = graph(
        **{name: tf.constant(np.array(raw[name][:]).tolist(), spec.dtype)
           for name, spec in specs.items()}
    )  # fmt: skip
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert np.array_equal(found[name].numpy(), array[:]), name


def test_settings_come_back_from_json():
    content = INPUTS.to_json()
    assert "vocabulary" not in content["text"]
    assert ProductInputs.from_json(content, ["red", "mug"]) == INPUTS


def test_category_values_are_folded_sorted_and_once():
    found = category_input("brand", ["Bolt", "", "ACME", "acme ", "Ａcme"])
    assert found.values == ("acme", "bolt")
    with pytest.raises(ValueError, match="no product has a 'brand'"):
        category_input("brand", ["", " "])


def test_points_are_quantiles_of_what_is_known():
    numbers = np.array([1, 2, 3, 4, np.nan, np.inf])
    assert number_points(numbers, most=4) == (1, 2, 3, 4)
    assert number_points(np.array([5.0, 5, 5])) == (5,)
    assert number_points(np.array([np.nan])) == ()


def test_what_is_no_number_is_refused_by_product():
    bad = [Product("x9", "mug", attributes={"price": "cheap"})]
    with pytest.raises(SimprodError, match="'x9': price must be a number, got 'cheap'"):
        raw_columns(bad, INPUTS)


def test_vectors_of_another_length_are_refused():
    other = {"clip": VectorTable("clip", ["a"], np.ones((1, 3)))}
    with pytest.raises(SimprodError, match="'clip' of length 2, got length 3"):
        raw_columns(PRODUCTS, INPUTS, other)


@pytest.mark.parametrize("column", ["title", "Image", "price"])
def test_taken_names_are_refused(column):
    with pytest.raises(ValueError, match="is taken"):
        ProductInputs(None, (CategoryInput(column, ("a",)),), (NumberInput("price"),))
