from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import Catalog, Product, text_array
from simprod_tf.matching.conflicts import TraitTable, compare, why
from simprod_tf.matching.traits import KINDS, product_traits


def kinds_of(this, that):
    """The kinds in which two titles conflict, both ways round."""
    products = [Product("a", this), Product("b", that)]
    table = TraitTable(products)
    found = table.conflicting(np.array([0, 1]), np.array([1, 0]))
    assert all(one[0] == one[1] for one in found.values())
    kinds = [kind for kind in KINDS if found[kind][0]]
    assert [one.kind for one in why(*products)] == kinds
    return kinds


@pytest.mark.parametrize(
    ("this", "that", "kinds"),
    [
        ("flour 400 g", "flour 200 g", ["quantity"]),
        ("flour 400 g", "flour", []),
        ("flour 400 g", "milk 400 ml", []),
        ("milk 0.5 l", "milk 500ml", []),
        ("can 12 oz", "can 340 g", []),
        ("cushion 40 cm", "cushion 16 inch", []),
        ("card 16 GB", "card 32 GB", ["quantity"]),
        ("drive 500 GB", "drive 512 GB", ["quantity"]),
        ("card 3 GB", "card 3072 MB", []),
        ("tuna 2 x 200 g", "tuna 400 g", ["pack"]),
        ("tuna 2 x 200 g", "tuna 200 g, pack of 2", []),
        ("tuna 2 x 200 g", "tuna 200 g", ["quantity", "pack"]),
        ("tuna 200 g, pack of 2", "tuna 200 g", ["pack"]),
        ("mugs, set of 4", "mugs, 6 pcs", ["pack"]),
        ("mugs, set of 4", "mugs", []),
        ("camera DSC-W120", "camera dscw120b", []),
        ("camera dscw120r", "camera dscw120b", ["model"]),
        ("camera DSC-W120 BX40Z", "camera BX40Z", []),
        ("phone new", "phone refurbished", ["condition"]),
        ("phone", "phone refurbished", []),
        ("tv 24 inch 60 W", "tv 24 inch 75 W", ["quantity"]),
        ("frame 20 x 30 cm", "frame 30 cm", []),
    ],
)
def test_a_conflict_needs_both_to_state_it_and_nothing_in_common(this, that, kinds):
    assert kinds_of(this, that) == kinds


def test_brands_are_the_same_if_one_begins_with_the_other():
    brands = ["Sony", "SONY Corp.", "Samsung", ""]
    titles = text_array(["tv"] * 4)
    ids = text_array(["a", "b", "c", "d"])
    none = text_array([""] * 4)
    catalog = Catalog(ids, titles, none, none, pa.table({"brand": brands}))
    table = TraitTable(catalog)
    found = table.conflicting(np.array([0, 0, 1, 2]), np.array([1, 2, 2, 3]))
    assert found["brand"].tolist() == [False, True, True, False]
    assert table.counts()["brand"] == 3
    (one,) = why(catalog["a"], catalog["c"])
    assert str(one) == "brand: Sony against Samsung"


def test_why_names_what_each_states():
    this = Product("a", "tuna 400 g, 2 pcs, used")
    that = Product("b", "tuna 150g, 3 pcs, new")
    assert [str(one) for one in why(this, that)] == [
        "quantity: 400 g, 2 x 400 g against 150 g, 3 x 150 g",
        "pack: 2 against 3",
        "condition: used against new",
    ]
    assert [(c.kind, c.differs) for c in compare(this, this)] == [
        ("quantity", False),
        ("pack", False),
        ("condition", False),
    ]


def agree(one, two):
    """The slow oracle: whether two traits of one kind and dimension are the same."""
    if one.kind in ("quantity", "pack"):
        return one.low <= two.value <= one.high or two.low <= one.value <= two.high
    if one.kind in ("model", "brand"):
        return one.value.startswith(two.value) or two.value.startswith(one.value)
    return one.value == two.value


def slow_conflict(kind, these, those):
    for dimension in {t.dimension for t in these if t.kind == kind}:
        left = [t for t in these if (t.kind, t.dimension) == (kind, dimension)]
        right = [t for t in those if (t.kind, t.dimension) == (kind, dimension)]
        if right and not any(agree(one, two) for one in left for two in right):
            return True
    return False


def random_products(count, seed):
    rng = np.random.default_rng(seed)
    parts = [
        ["", "400 g", "396 g", "200 g", "0.4 kg", "500 ml", "0.5 l"],
        ["", "2 x 200 g", "10 x 15 cm", "4 inch", "16GB", "15.6 GB"],
        ["", "pack of 2", "2 pcs", "6-pack"],
        ["", "AB-1234", "ab1234c", "AB1234D", "XY9876 AB-1234"],
        ["", "new", "used", "refurbished"],
    ]
    brands = ["", "Sony", "sony corp", "Acme"]
    for row in range(count):
        title = " ".join(rng.choice(part) for part in parts)
        yield Product(str(row), title, attributes={"brand": str(rng.choice(brands))})


def test_all_pairs_are_as_the_slow_oracle_says(monkeypatch):
    monkeypatch.setattr("simprod_tf.matching.conflicts._BLOCK", 1000)
    products = list(random_products(60, seed=4))
    starts, ends = (grid.ravel() for grid in np.indices((60, 60)))
    found = TraitTable(products).conflicting(starts, ends)
    traits = [product_traits(one) for one in products]
    for kind in KINDS:
        expected = [
            slow_conflict(kind, traits[a], traits[b]) for a, b in zip(starts, ends)
        ]
        assert found[kind].tolist() == expected
        assert 0 < sum(expected) < len(expected)


def test_titles_that_state_hundreds_of_things_are_compared_in_parts(monkeypatch):
    monkeypatch.setattr("simprod_tf.matching.conflicts._BLOCK", 50)
    long = " ".join(f"{size} kg" for size in range(100, 300, 10))
    titles = [long, "95 kg", f"{long} 95 kg", "210 kg"]
    table = TraitTable([Product(str(row), title) for row, title in enumerate(titles)])
    starts, ends = (grid.ravel() for grid in np.indices((4, 4)))
    found = table.conflicting(starts, ends)["quantity"].reshape(4, 4)
    assert np.argwhere(found).tolist() == [[0, 1], [1, 0], [1, 3], [3, 1]]


def test_only_the_kinds_that_are_wanted_come_back():
    table = TraitTable(random_products(5, seed=0))
    found = table.conflicting(np.array([0]), np.array([1]), kinds=("pack",))
    assert list(found) == ["pack"]


def test_nothing_stated_and_no_pairs_are_no_conflict():
    assert len(TraitTable([])) == 0
    table = TraitTable([Product("a", "mug"), Product("b", "")])
    found = table.conflicting(np.array([0]), np.array([1]))
    assert not any(one.any() for one in found.values())
    none = np.empty(0, np.int64)
    assert {len(one) for one in table.conflicting(none, none).values()} == {0}
    assert table.counts() == dict.fromkeys(KINDS, 0)


def test_reading_tells_how_far_it_is(monkeypatch):
    monkeypatch.setattr("simprod_tf.matching.conflicts._REPORT_EVERY", 2)
    products = [Product(str(row), "mug") for row in range(5)]
    told = []
    TraitTable(products, progress=lambda *how: told.append(how))
    assert told == [(2, 5), (4, 5), (5, 5)]
    TraitTable(iter(products), progress=lambda *how: told.append(how))
    TraitTable([], progress=lambda *how: told.append(how))
    assert len(told) == 3


def test_wrong_arguments_are_refused():
    table = TraitTable([Product("a", "mug"), Product("b", "cup")])
    with pytest.raises(ValueError, match="a kind is one of .*, got 'colour'"):
        table.conflicting(np.array([0]), np.array([1]), kinds=("colour",))
    with pytest.raises(ValueError, match=r"must be \[E\] rows, got shapes \(1,\) and"):
        table.conflicting(np.array([0]), np.array([1, 0]))


def test_it_loads_no_tensorflow():
    code = (
        "import sys, simprod_tf.matching.conflicts, simprod_tf.matching.explain; "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
