"""Leakage reports: each kind of leak, counted where it is and nowhere else."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.leakage import KINDS, leakage_between, leakage_report
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.data.picture_hash import PictureGroups
from simprod_tf.data.split import Split
from simprod_tf.errors import SimprodError

SIDES = ("train", "validation", "test")


def catalog_of(ids, *, titles=None, images=None, groups=None):
    none = [""] * len(ids)
    columns = (text_array(one or none) for one in (titles, images, groups))
    return Catalog(text_array(list(ids)), *columns, pa.table({}))


def counts(report):
    return {(x.kind, x.first, x.second): x.count for x in report.shared if x.count}


def test_each_kind_is_counted_between_its_own_sides():
    # a, b train; c, d validation; e, f test.
    catalog = catalog_of(
        "abcdef",
        groups=["g", "g", "g", "h", "i", "h"],
        titles=["mug", "", "cup", "", "mug", "cup"],
    )
    near = PictureGroups(
        component=np.array([0, 1, 0, 2, 1, -1]), content=np.array([0, 1, 0, 2, 3, -1])
    )
    split = Split(dict(zip("abcdef", np.repeat(SIDES, 2).tolist())))
    hand = canonical_pairs(["a", "f", "c", "d"], ["b", "a", "f", "e"], [1, 1, 1, 0])
    report = leakage_report(catalog, split, hand_pairs=hand, near=near)
    assert counts(report) == {
        ("group", "train", "validation"): 1,
        ("group", "validation", "test"): 1,
        ("title", "train", "test"): 1,
        ("title", "validation", "test"): 1,
        ("identical picture", "train", "validation"): 1,
        ("near-identical picture", "train", "test"): 1,
        ("pair labelled similar", "train", "test"): 1,
        ("pair labelled similar", "validation", "test"): 1,
    }
    assert report.leaks
    examples = {(x.kind, x.second): x.examples for x in report.shared if x.count}
    assert examples["near-identical picture", "test"] == (("b", "e"),)
    assert examples["pair labelled similar", "test"] == (("c", "f"),)
    assert report.products == {"train": 2, "validation": 2, "test": 2}


def test_a_clean_split_does_not_leak_and_nothing_empty_is_shared():
    catalog = catalog_of("abc")
    report = leakage_report(catalog, Split(dict(zip("abc", SIDES))))
    assert not report.leaks
    assert report.summary == "nothing is shared"
    assert len(report.shared) == 3 * len(KINDS)


def test_five_examples_are_kept_of_many():
    ids = [f"p{i:02d}" for i in range(20)]
    catalog = catalog_of(ids, titles=[f"t{i // 2}" for i in range(20)])
    split = Split({id: SIDES[2 * (i % 2)] for i, id in enumerate(ids)})
    leak = next(x for x in leakage_report(catalog, split).shared if x.count)
    assert (leak.kind, leak.count) == ("title", 10)
    assert leak.examples == tuple((ids[i], ids[i + 1]) for i in range(0, 10, 2))


def test_the_report_is_told_as_table_line_and_json():
    catalog = catalog_of("abcd", groups=["g", "g", "h", "h"])
    near = PictureGroups(*np.full((2, 4), -1), placeholders=1200, unreadable=3)
    split = Split(dict(zip("abcd", ["train", "test", "test", "train"])))
    hand = canonical_pairs(["a"], ["b"], [1])
    report = leakage_report(catalog, split, hand_pairs=hand, near=near)
    assert report.summary == (
        "2 groups across train and test ('a' with 'b'), 1 pair labelled similar "
        "across train and test ('a' with 'b')"
    )
    lines = [line.split() for line in str(report).splitlines()]
    assert ["shared", "train/validation", "train/test", "validation/test"] in lines
    assert ["group", "0", "2", "0"] in lines
    assert ["pair", "labelled", "similar", "0", "1", "0"] in lines
    assert "group, train with test: 'a' with 'b', 'd' with 'c'" in str(report)
    assert "products with a placeholder for a picture: 1,200" in str(report)
    assert "products with a picture that cannot be read: 3" in str(report)
    content = json.loads(json.dumps(report.to_json()))
    assert content["leaks"] is True
    assert content["products"] == {"train": 2, "validation": 0, "test": 2}
    assert {
        "kind": "group",
        "sides": ["train", "test"],
        "count": 2,
        "examples": [["a", "b"], ["d", "c"]],
    } in content["shared"]
    assert (content["placeholders"], content["unreadable"]) == (1200, 3)


def test_catalogues_that_share_products_and_pictures_leak(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 255, (32, 32), dtype=np.uint8)
    Image.fromarray(values).resize((99, 99)).save(tmp_path / "a.png")
    Image.fromarray(values).resize((99, 99)).save(tmp_path / "a.jpg", quality=20)
    images = [str(tmp_path / name) for name in ("a.png", "a.jpg")]
    known = catalog_of(["a", "b"], images=[images[0], ""], groups=["", "g"])
    asked = catalog_of(["b", "c", "d"], images=["", images[1], images[1]])
    hand = canonical_pairs(["a"], ["d"], [1])
    told = []
    report = leakage_between(
        {"known": known, "asked": asked},
        hand_pairs=hand,
        progress=lambda *at: told.append(at),
    )
    assert counts(report) == {
        ("product", "known", "asked"): 1,
        ("near-identical picture", "known", "asked"): 1,
        ("pair labelled similar", "known", "asked"): 1,
    }
    assert report.shared[0].examples == (("b", "b"),)
    assert report.products == {"known": 2, "asked": 3}
    assert told[-1] == (2, 2)
    fewer = leakage_between({"known": known, "asked": asked}, max_bits=0)
    assert counts(fewer) == {("product", "known", "asked"): 1}


def test_a_split_that_lacks_a_product_is_refused():
    with pytest.raises(SimprodError, match="does not know 1 products.*'b'"):
        leakage_report(catalog_of("ab"), Split({"a": "train"}))
