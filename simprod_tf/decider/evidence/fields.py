"""What the columns of a catalogue are: title, long text, brand, price and the like."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from simprod_tf.data.catalog import Catalog
from simprod_tf.decider.evidence.tokens import joined, plain_text
from simprod_tf.matching.keys import KEY_COLUMNS, normal_gtin
from simprod_tf.matching.traits import BRAND_COLUMNS, CONDITION_COLUMNS, MODEL_COLUMNS

PRICE_COLUMNS = ("price", "list_price", "sale_price")
GTIN_COLUMNS = tuple(name for name, kind in KEY_COLUMNS.items() if kind == "gtin")
# Where a record stands, not what it is of.
_NO_EVIDENCE = ("table", "split", "url", "image_url")
# What the layout of matching sets puts before a name that the catalogue needs itself.
_PREFIX = "record_"
# A column whose values have so many characters on average is a description.
_LONG = 60
_PRICE = re.compile(r"\d+(?:[.,' ]\d{3})*(?:[.,]\d{1,2})?(?!\d)|\d+(?:\.\d+)?")
_CENTS = re.compile(r"[.,](\d{1,2})$")


@dataclass(frozen=True)
class RecordText:
    """What a product's columns say; "" where there is nothing.

    Attributes:
        title: the title as plain text.
        raw_title: as it is written.
        text: descriptions and other long columns, as plain text.
        brand: as plain text.
        model: without case and separators.
        gtin: 14 digits.
        condition: as it is written.
        price: NaN where none is known.
        others: by column, what is left, as plain text.
    """

    title: str
    raw_title: str
    text: str
    brand: str
    model: str
    gtin: str
    condition: str
    price: float
    others: Mapping[str, str]


def record_texts(catalog: Catalog) -> Iterator[RecordText]:
    """Returns the products of a catalogue one by one, their columns told apart.

    Columns are known by their names, without case; of the others, those with long
    values are text. Lists are left out.
    """
    columns = {
        one.name: catalog.column(one.name)
        for one in catalog.attributes.schema
        if not pa.types.is_nested(one.type) and _folded(one.name) not in _NO_EVIDENCE
    }
    known = {
        kind: [name for name in columns if _folded(name) in names]
        for kind, names in {
            "brand": BRAND_COLUMNS,
            "model": MODEL_COLUMNS,
            "gtin": GTIN_COLUMNS,
            "condition": CONDITION_COLUMNS,
            "price": PRICE_COLUMNS,
        }.items()
    }
    named = {name for names in known.values() for name in names}
    rest = [name for name in columns if name not in named]
    long = [name for name in rest if _is_long(columns[name])]
    for row, title in enumerate(catalog.titles):
        texts = {name: column[row] for name, column in columns.items() if column[row]}
        first = {kind: _first(texts, names) for kind, names in known.items()}
        yield RecordText(
            title=plain_text(title),
            raw_title=title,
            text=plain_text(" ".join(texts[name] for name in long if name in texts)),
            brand=plain_text(first["brand"]),
            model=joined(plain_text(first["model"])),
            gtin=normal_gtin(first["gtin"]) if first["gtin"] else "",
            condition=first["condition"],
            price=price_of(first["price"]),
            others={
                name: plain_text(texts[name])
                for name in rest
                if name in texts and name not in long
            },
        )


def price_of(text: str) -> float:
    """Returns the first amount of a text such as "$ 1,299.00"; NaN where none is.

    One or two digits behind the last point or comma are cents; 0 is no price.
    """
    match = _PRICE.search(text)
    if not match:
        return math.nan
    digits = match[0].replace(" ", "").replace("'", "")
    cents = _CENTS.search(digits)
    if cents:
        digits = digits[: cents.start()]
    value = float(re.sub("[.,]", "", digits)) + (float(f"0.{cents[1]}") if cents else 0)
    return value if value > 0 else math.nan


def _folded(name: str) -> str:
    return name.strip().casefold().removeprefix(_PREFIX)


def _first(texts: Mapping[str, str], names: Sequence[str]) -> str:
    return next((texts[name] for name in names if name in texts), "")


def _is_long(column: np.ndarray) -> bool:
    lengths = [len(text) for text in column if text]
    return bool(lengths) and sum(lengths) / len(lengths) >= _LONG
