from __future__ import annotations

import pytest

from simprod_tf.data.catalog import Product
from simprod_tf.matching.traits import KINDS, product_traits, traits_of


def stated(kind, title, **columns):
    return [t.value for t in traits_of(title, **columns) if t.kind == kind]


@pytest.mark.parametrize(
    ("title", "count"),
    [
        ("Pack of 6 mugs", 6),
        ("6-pack mugs", 6),
        ("mugs 6 pack", 6),
        ("Becher 6er Pack", 6),
        ("Becher 6er-Set", 6),
        ("mugs, 3 pcs", 3),
        ("3 pieces", 3),
        ("12 ct", 12),
        ("mug x 6", 6),
        ("mug (x6)", 6),
        ("2x mug", 2),
        ("cola 6 x 330 ml", 6),
        ("soap twin pack", 2),
        ("set of 4 plates", 4),
        ("tea, 20 teabags", 20),
    ],
)
def test_the_count_of_a_pack_is_found(title, count):
    assert stated("pack", title) == [count]


@pytest.mark.parametrize(
    "title",
    ["5x optical zoom", "Athlon X2 cpu", "memory card 300x premium", "24-port switch"],
)
def test_zoom_and_names_are_no_packs(title):
    assert stated("pack", title) == []


def test_content_without_a_count_is_one_piece():
    assert stated("pack", "cola 330 ml") == [1]
    assert stated("pack", "flour 500 g, pack of 2") == [2]
    assert stated("pack", "drive 500 GB") == stated("pack", "cable 2 m") == []


def test_a_content_with_a_count_is_of_the_piece_or_of_all():
    assert stated("quantity", "cola 330 ml, pack of 6") == [330, pytest.approx(1980)]
    assert stated("quantity", "cola 6 x 330 ml") == [pytest.approx(1980)]
    assert stated("quantity", "twin pack, 2 x 100 g") == [200]
    assert stated("quantity", "lamps 60 W, pack of 2") == [60]


@pytest.mark.parametrize(
    ("title", "model"),
    [
        ("Sony WH-1000XM4 headphones", "wh1000xm4"),
        ("sony dsc-w120 camera", "dscw120"),
        ("ipod nano (MB735LL/A)", "mb735lla"),
        ("408854-B21 kit", "408854b21"),
        ("XTA-3510-73-GB-10K", "xta351073gb10k"),
        ("toner 2663b001", "2663b001"),
    ],
)
def test_a_model_number_is_found_without_its_separators(title, model):
    assert stated("model", title) == [model]


@pytest.mark.parametrize(
    "word",
    ["1080p", "7th", "mp3", "ddr4-2400", "usb3.0", "288-pin", "1600x1200", "802.11ac"]
    + ["windows-10", "2-in-1", "12345678", "16GB", "24-port", "2004-2007", "g10"],
)
def test_standards_quantities_and_plain_numbers_are_no_models(word):
    assert stated("model", f"thing {word} black") == []


@pytest.mark.parametrize(
    ("title", "condition"),
    [
        ("Brand new phone", "new"),
        ("NEW phone", "new"),
        ("refurbished phone, like new", "refurbished"),
        ("phone generalüberholt", "refurbished"),
        ("phone (open-box)", "open box"),
        ("used phone", "used"),
        ("Handy gebraucht", "used"),
        ("phone for parts", "for parts"),
    ],
)
def test_the_condition_is_the_least_new_that_is_stated(title, condition):
    assert stated("condition", title) == [condition]


@pytest.mark.parametrize(
    "title", ["phone", "New Balance 574", "new edition", "used for baking", "renewal"]
)
def test_no_condition_is_read_into_names(title):
    assert stated("condition", title) == []


def test_columns_tell_brand_model_and_condition():
    product = Product(
        "a",
        "a new WH-1000XM4",
        attributes={"Brand": "Sony®", "MPN": "wh1000xm4/b", "condition": "Used"},
    )
    values = {(t.kind, t.value) for t in product_traits(product)}
    assert values == {
        ("brand", "sony"),
        ("model", "wh1000xm4b"),
        ("model", "wh1000xm4"),
        ("condition", "used"),
    }
    maker = Product("b", "x", attributes={"manufacturer": "Acme & Co."})
    assert [t.value for t in product_traits(maker)] == ["acmeco"]
    assert stated("condition", "used phone", condition="good") == ["used"]
    assert stated("model", "x", model="n/a") == stated("brand", "x", brand=" - ") == []


def test_odd_letters_are_read():
    assert stated("quantity", "Ｍｉｌｋ　５００ｍｌ") == [500]
    assert stated("quantity", "1½ inch") == [pytest.approx(38.1)]
    assert stated("quantity", "Scandisk™64 GB") == [64e9]
    assert traits_of("") == traits_of("a mug, Ünïcödé ☕") == ()


def test_what_is_stated_twice_stands_once_and_kinds_are_in_order():
    found = traits_of("new 500 ml bottle AB-1234, 0.5 l, AB1234, 2 pcs", brand="x")
    kinds = [t.kind for t in found]
    assert kinds == sorted(kinds, key=KINDS.index)
    assert stated("model", "AB-1234 AB1234") == ["ab1234"]
    assert stated("quantity", "500 ml = 0.5 l") == [500]
