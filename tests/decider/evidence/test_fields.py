from __future__ import annotations

import math

import pyarrow as pa
import pytest

from simprod_tf.decider.evidence.fields import price_of, record_texts

LONG = "a sturdy kettle of brushed steel that boils one litre of water in two minutes"


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("199.99", 199.99),
        ("$ 1,299.00", 1299.0),
        ("1.299,00 EUR", 1299.0),
        ("1 299,5", 1299.5),
        ("12", 12.0),
        ("USD 2,500", 2500.0),
        ("9.5", 9.5),
        ("1234567.89", 1234567.89),
    ],
)
def test_price_is_read_however_it_is_written(text, price):
    assert price_of(text) == pytest.approx(price)


@pytest.mark.parametrize("text", ["", "call us", "0.00"])
def test_no_price_is_nan(text):
    assert math.isnan(price_of(text))


def test_columns_are_told_apart_by_their_names(catalog_of):
    record = next(
        record_texts(
            catalog_of(
                ["Kettle"],
                Manufacturer=["ACME Corp."],
                modelno=["KT-100/B"],
                record_price=["$20"],
                ean=["4006381333931"],
                condition=["used"],
                description=[LONG],
                colour=["Red"],
                table=["left"],
                tags=pa.array([["a", "b"]]),
            )
        )
    )
    assert record.brand == "acme corp."
    assert record.model == "kt100b"
    assert record.price == 20.0
    assert record.gtin == "04006381333931"
    assert record.condition == "used"
    assert record.text == LONG
    assert record.others == {"colour": "red"}


def test_a_title_alone_leaves_all_else_empty(catalog_of):
    record = next(record_texts(catalog_of(["Blue Mug"])))
    assert (record.title, record.raw_title) == ("blue mug", "Blue Mug")
    assert (record.text, record.brand, record.model, record.gtin) == ("", "", "", "")
    assert math.isnan(record.price)
    assert record.others == {}


def test_the_first_filled_column_of_a_kind_holds(catalog_of):
    records = record_texts(
        catalog_of(["a", "b"], brand=["", "Sony"], manufacturer=["Nikon", "Canon"])
    )
    assert [one.brand for one in records] == ["nikon", "sony"]
