"""What comes into an index is checked at the door."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.index.arguments import (
    checked_k,
    checked_products,
    fitting_attributes,
    one_per_query,
)

HELD = pa.schema({"brand": pa.string(), "price": pa.float64()})


def test_attributes_come_in_the_order_and_type_of_those_held() -> None:
    given = pa.table({"price": ["3"], "more": [1], "brand": [None]})
    table = fitting_attributes(given, HELD, num_rows=1)
    assert table is not None
    assert table.schema == HELD
    assert table.to_pydict() == {"brand": [None], "price": [3.0]}
    assert fitting_attributes(None, None, num_rows=1) is None


@pytest.mark.parametrize(
    ("given", "held", "message"),
    [
        ({"price": [1]}, None, "built without attributes, got some"),
        (None, HELD, r"Got 0 rows of attributes for 1 ids; .*\['brand', 'price'\]"),
        ({"price": [1, 2], "brand": ["a", "b"]}, HELD, "Got 2 rows of attributes"),
        ({"price": [1]}, HELD, r"there is no 'brand' among \['price'\]"),
        ({"price": ["x"], "brand": ["a"]}, HELD, r"'price' is double there \(.*'x'"),
        ({"price": [[1]], "brand": ["a"]}, HELD, "'price' is double there"),
    ],
)
def test_attributes_that_do_not_fit_are_refused(given, held, message) -> None:
    table = None if given is None else pa.table(given)
    with pytest.raises(ValueError, match=message):
        fitting_attributes(table, held, num_rows=1)


def test_products_are_refused_before_there_is_an_index() -> None:
    one = np.eye(2, dtype=np.float32)
    good = {"encoder_fingerprint": "f", "attributes": None, "extra": None}
    stored = checked_products(["a", "b"], one, **good)
    assert (stored.ids, stored.extra) == (("a", "b"), {})
    assert not np.shares_memory(stored.embeddings, one)
    for fingerprint in ("", None, 3):
        with pytest.raises(ValueError, match="encoder_fingerprint is a non-empty str"):
            checked_products(
                ["a", "b"], one, **{**good, "encoder_fingerprint": fingerprint}
            )
    with pytest.raises(ValueError, match="Got 1 rows of attributes for 2 ids"):
        checked_products(
            ["a", "b"], one, **{**good, "attributes": pa.table({"x": [1]})}
        )


def test_k_and_lists_of_one_per_query() -> None:
    assert checked_k(1) == 1
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        checked_k(0)
    assert one_per_query(None, 2, what="exclude") == [None, None]
    assert one_per_query(["a", None], 2, what="exclude") == ["a", None]
    with pytest.raises(ValueError, match="Got 1 exclude for 2 queries"):
        one_per_query(["a"], 2, what="exclude")
