from __future__ import annotations

import pytest

from simprod_tf.matching.units import DIMENSIONS, find_quantities


def found(text):
    """What a text states, as {dimension without its unit: [values]}."""
    values: dict = {}
    for one in find_quantities(text):
        values.setdefault(one.dimension.split(" in ")[0], []).append(one.value)
    return values


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("500ml", "volume", 500),
        ("500 ML bottle", "volume", 500),
        ("500-ml", "volume", 500),
        ("0.5 l", "volume", 500),
        ("0,5 Liter", "volume", 500),
        ("0,350 l", "volume", 350),
        ("50 cl", "volume", 500),
        ("1,000 ml", "volume", 1000),
        ("12,500.5 g", "mass", 12500.5),
        ("12 oz", "mass", 340.19),
        ("12 oz. can", "mass", 340.19),
        ("12 fl. oz", "volume", 354.88),
        ("2 lbs", "mass", 907.18),
        ("1.5 kg", "mass", 1500),
        ("250 µg", "mass", 0.00025),
        ('15.6" screen', "length", 396.24),
        ("15.6-inch", "length", 396.24),
        ("15.6 in screen", "length", 396.24),
        ("1 1/2 inch pipe", "length", 38.1),
        ("3/4 inch", "length", 19.05),
        ("6 ft cable", "length", 1828.8),
        ("2 m", "length", 2000),
        ("16GB", "memory", 16e9),
        ("1TB", "memory", 1e12),
        ("3072 MB", "memory", 3e9),
        ("480 Mbps", "data rate", 480e6),
        ("6 MB/s", "data rate", 48e6),
        ("60W bulb", "power", 60),
        ("1.2 kWh", "energy", 1200),
        ("12 V", "voltage", 12),
        ("500 mA", "current", 0.5),
        ("5000mAh", "charge", 5000),
        ("2.4 GHz", "frequency", 2.4e9),
        ("12.1 megapixels", "resolution", 12.1e6),
        ("7200 rpm", "speed", 7200),
        ("24.7 cu ft fridge", "volume", 699426),
    ],
)
def test_a_number_with_a_unit_is_brought_to_the_base_unit(text, dimension, value):
    assert found(text) == {dimension: [pytest.approx(value, rel=1e-4)]}


@pytest.mark.parametrize(
    "text",
    [
        "XTA-3510-73GB drive",
        "SATA 6G",
        "5G phone",
        "802.11g router",
        "3 in 1",
        "5 in stock",
        "0 g",
        "12 gadgets",
        "A4500mm2x",
        "shirt set of 3 L",
        "100 %",
        "20 m2",
        "9" * 400 + " g",
    ],
)
def test_parts_of_words_and_standards_are_no_quantities(text):
    assert found(text) == {}


def test_lengths_beside_each_other_are_sides_and_contents_add_up():
    assert found("20 x 30 x 5 cm") == {"length": [200, 300, 50]}
    assert found("18-55mm lens") == {"length": [18, 55]}
    assert found("8/16 GB") == {"memory": [8e9, 16e9]}
    assert found("2 x 400 g") == found("400g x2") == {"mass": [800]}
    assert found("2x4GB") == {"memory": [8e9]}
    assert found("2 x 3 x 100 ml") == {"volume": [600]}
    assert found("2 x 60 W") == {"power": [2, 60]}


def test_pieces_are_told_only_where_they_are_stated():
    texts = ("400 g", "1 x 400 g", "3 × 400 g", "400 g x 4")
    assert [find_quantities(text)[0].pieces for text in texts] == [None, 1, 3, 4]
    assert find_quantities("3 × 400g")[0].text == "3 x 400 g"


def test_whole_numbers_of_ten_and_more_are_rounded_ones():
    (large,) = find_quantities("40 cm")
    assert (large.low, large.high) == (395, 405)
    (small,) = find_quantities("5 cm")
    assert (small.low, small.high) == pytest.approx((49.5, 50.5))
    (exact,) = find_quantities("15.6 cm")
    assert exact.high - exact.value == pytest.approx(1.56)


def test_where_it_stands_is_told():
    (one,) = find_quantities("tea, 500 g, green")
    assert "tea, 500 g, green"[one.start : one.end] == "500 g"
    assert one.dimension in DIMENSIONS
