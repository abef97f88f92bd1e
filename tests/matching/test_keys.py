"""Exact keys: what is one, and who shares it."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.errors import SimprodError
from simprod_tf.matching.keys import (
    KeyGroups,
    key_columns,
    normal_gtin,
    normal_model,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # 4*1+0*3+0*1+6*3+3*1+8*3+1*1+3*3+3*1+3*3+9*1+3*3 = 89, so the check digit is 1.
        ("4006381333931", "04006381333931"),
        (" 4-006381 333931", "04006381333931"),
        ("4006381333931.0", "04006381333931"),
        ("036000291452", "00036000291452"),
        # The same UPC after a spreadsheet took its zero.
        ("36000291452", "00036000291452"),
        ("73513537", "00000073513537"),
        ("4006381333932", ""),
        ("4.00638E+12", ""),
        ("0", ""),
        ("00000000", ""),
        ("4444444444444", ""),
        ("978-0-306-40615", ""),
        ("EAN", ""),
        ("", ""),
    ],
)
def test_a_gtin_has_14_digits_and_a_right_check_digit(text: str, expected: str) -> None:
    assert normal_gtin(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WH-1000XM4", "wh1000xm4"),
        ("wh 1000_xm4", "wh1000xm4"),
        ("ＤＳＣ-W120", "dscw120"),
        ("n/a", ""),
        ("unknown", ""),
        ("5", ""),
        ("A-10", ""),
    ],
)
def test_a_model_number_loses_case_and_separators(text: str, expected: str) -> None:
    assert normal_model(text) == expected


def test_key_columns_are_known_by_their_names() -> None:
    names = ["title", "EAN", "mpn", "price"]
    assert key_columns(names) == {"EAN": "gtin", "mpn": "model"}


def pairs_of(groups: KeyGroups, kind: str, rows: list[int]) -> set[tuple[int, int]]:
    lines, others = groups.partners(kind, np.array(rows, np.int64))
    return set(zip(np.array(rows)[lines].tolist(), others.tolist()))


def test_columns_of_one_kind_are_compared_with_one_another() -> None:
    table = pa.table(
        {
            "ean": ["4006381333931", None, "0036000291452", "4006381333931"],
            "upc": [None, "036000291452", "x", ""],
        }
    )
    groups = KeyGroups.of_columns(table, {"ean": "gtin", "upc": "gtin"})
    assert groups.kinds == ("gtin",) and len(groups) == 4
    assert pairs_of(groups, "gtin", [2, 0]) == {(2, 1), (0, 3)}
    report = groups.reports["gtin"]
    assert (report.num_values, report.num_invalid, report.num_shared) == (5, 1, 2)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([4006381333931, None, 36000291452, 4006381333931]),
        pa.array([4006381333931.0, float("nan"), 36000291452.0, 4006381333931.0]),
        pa.array([["4006381333931"], None, [], ["73513537", "4006381333931"]]),
        pa.array(["4006381333931", "", "x", "73513537; 4006381333931"]),
    ],
)
def test_numbers_lists_and_several_keys_in_a_cell_are_read(column: pa.Array) -> None:
    groups = KeyGroups.of_columns(pa.table({"ean": column}), {"ean": "gtin"})
    assert pairs_of(groups, "gtin", [0, 1, 2, 3]) == {(0, 3), (3, 0)}


def test_what_too_many_products_share_is_no_key_and_is_counted() -> None:
    models = ["none0", "NONE-0", "none 0", "ab12", "AB-12", "cd34"]
    table = pa.table({"mpn": models})
    groups = KeyGroups.of_columns(table, {"mpn": "model"}, max_shared=2)
    assert pairs_of(groups, "model", list(range(6))) == {(3, 4), (4, 3)}
    report = groups.reports["model"]
    assert report.num_placeholders == 1 and report.num_shared == 1
    assert report.placeholders == (("none0", 3),)


def test_partners_agree_with_all_pairs_compared() -> None:
    rng = np.random.default_rng(0)
    cells = [
        [f"m{v:03d}" for v in rng.integers(0, 40, rng.integers(3))] for _ in [0] * 60
    ]
    groups = KeyGroups.of_columns(pa.table({"m": cells}), {"m": "model"})
    expected = {
        (a, b)
        for a, b in itertools.permutations(range(60), 2)
        if set(cells[a]) & set(cells[b])
    }
    assert pairs_of(groups, "model", list(range(60))) == expected
    assert len(expected) > 20


def test_no_products_have_no_keys() -> None:
    table = pa.table({"mpn": pa.array([], pa.string())})
    groups = KeyGroups.of_columns(table, {"mpn": "model"})
    assert pairs_of(groups, "model", []) == set()


def test_of_columns_refuses() -> None:
    table = pa.table({"mpn": ["a1"], "title": ["A"]})
    with pytest.raises(SimprodError, match="no column 'ean'.* are: mpn, title"):
        KeyGroups.of_columns(table, {"ean": "gtin"})
    with pytest.raises(ValueError, match="one of gtin, model, got 'sku'"):
        KeyGroups.of_columns(table, {"mpn": "sku"})
    with pytest.raises(ValueError, match="max_shared must be at least 2, got 1"):
        KeyGroups.of_columns(table, {"mpn": "model"}, max_shared=1)
