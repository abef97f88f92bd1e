"""Splits: nothing that hangs together is cut."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from simprod_tf.data.catalog import Catalog, text_array
from simprod_tf.data.pairs import canonical_pairs
from simprod_tf.data.picture_hash import PictureGroups
from simprod_tf.data.split import (
    Split,
    check_split,
    read_split,
    split_catalog,
    write_split,
)
from simprod_tf.errors import InputError, SimprodError


def catalog_of(groups, titles=None, images=None):
    size = len(groups)
    return Catalog(
        text_array([f"p{i}" for i in range(size)]),
        text_array(titles or [f"title {i}" for i in range(size)]),
        text_array(images or [""] * size),
        text_array(groups),
        pa.table({}),
    )


def test_every_product_has_a_side_and_no_group_is_cut():
    catalog = catalog_of([f"g{i // 3}" for i in range(600)])
    split = split_catalog(catalog, seed=1)
    assert list(split.sides) == list(catalog.ids)
    sides = np.array(list(split.sides.values())).reshape(-1, 3)
    assert (sides == sides[:, :1]).all()


def test_shares_come_out_near_what_was_asked():
    catalog = catalog_of([f"g{i // 3}" for i in range(600)])
    counts = split_catalog(catalog, validation=0.1, test=0.3).counts()
    assert abs(counts["train"] - 360) <= 3
    assert abs(counts["validation"] - 60) <= 3
    assert abs(counts["test"] - 180) <= 3


def test_the_same_seed_gives_the_same_split_and_another_another():
    catalog = catalog_of([f"g{i // 2}" for i in range(100)])
    first = split_catalog(catalog, seed=3).sides
    assert first == split_catalog(catalog, seed=3).sides
    assert first != split_catalog(catalog, seed=4).sides


def test_titles_pictures_and_labels_tie_products_together(tmp_path, make_picture):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_picture(seed).save(tmp_path / f"{name}.png")
    images = [str(tmp_path / f"{name}.png") for name in "abc"] + [""] * 5
    titles = ["", "", "mug", "mug", "x", "y", "z", "w"]
    catalog = catalog_of([""] * 8, titles, images)
    # p0-p1 same picture, p2-p3 same title, p4-p5 labelled; p1-p2 and p6-p7 not tied.
    hand = canonical_pairs(["p4", "p6", "p1"], ["p5", "p7", "p2"], [1, 0, 0])
    tied = [("p0", "p1"), ("p2", "p3"), ("p4", "p5")]
    seen = set()
    for seed in range(30):
        sides = split_catalog(
            catalog, hand_pairs=hand, validation=0.3, test=0.3, seed=seed
        ).sides
        assert all(sides[a] == sides[b] for a, b in tied)
        seen |= {pair for pair in (("p1", "p2"), ("p6", "p7"))
                 if sides[pair[0]] != sides[pair[1]]}  # fmt: skip
    assert len(seen) == 2


LEAKS = {
    "group": "1 group",
    "title": "1 title",
    "picture": "1 identical picture",
    "near": "1 near-identical picture",
    "label": "1 pair labelled similar",
}


@pytest.mark.parametrize("leak", list(LEAKS))
def test_a_leak_of_each_kind_is_refused_by_name(tmp_path, caplog, leak):
    values = np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    photo = Image.fromarray(values).resize((90, 90))
    photo.save(tmp_path / "a.png")
    photo.save(tmp_path / "a.jpg", quality=95)
    image, again = str(tmp_path / "a.png"), str(tmp_path / "a.jpg")
    other = {"picture": image, "near": again}.get(leak, "")
    catalog = catalog_of(
        ["g", "g", "h"] if leak == "group" else ["g", "h", "i"],
        ["t", "t", "u"] if leak == "title" else ["t", "v", "u"],
        [image, other, ""],
    )
    hand = canonical_pairs(["p0"], ["p1"], [1]) if leak == "label" else None
    leaky = Split({"p0": "train", "p1": "test", "p2": "train"})
    told = rf"the split leaks: {LEAKS[leak]} across train and test \('p0' with 'p1'\)"
    with pytest.raises(SimprodError, match=rf"{told}; make a new .* --allow-leaks\.$"):
        check_split(catalog, leaky, hand_pairs=hand)
    check_split(catalog, leaky, hand_pairs=hand, allow_leaks=True)
    assert re.search(told, caplog.text)
    for seed in range(5):
        made = split_catalog(catalog, hand_pairs=hand, test=0.4, seed=seed)
        assert made.sides["p0"] == made.sides["p1"]
        check_split(catalog, made, hand_pairs=hand)


def test_pictures_that_were_compared_are_not_read_again():
    catalog = catalog_of([""] * 4, images=["a.png", "b.png", "", ""])
    near = PictureGroups(np.array([0, 0, -1, -1]), np.array([0, 1, -1, -1]))
    for seed in range(5):
        sides = split_catalog(catalog, near=near, test=0.5, seed=seed).sides
        assert sides["p0"] == sides["p1"]
    leaky = Split({"p0": "train", "p1": "test", "p2": "train", "p3": "train"})
    with pytest.raises(SimprodError, match="1 near-identical picture"):
        check_split(catalog, leaky, hand_pairs=None, near=near)


def test_pictures_that_cannot_be_read_tie_nothing(tmp_path):
    catalog = catalog_of([""] * 2, images=[str(tmp_path / "gone.png")] * 2)
    told = []
    split_catalog(catalog, progress=lambda *at: told.append(at))
    assert told == [(1, 1)]
    apart = Split({"p0": "train", "p1": "test"})
    check_split(catalog, apart, hand_pairs=None)


def test_a_split_that_lacks_a_product_is_refused():
    with pytest.raises(SimprodError, match="does not know 1 products.*'p1'"):
        check_split(catalog_of(["", ""]), Split({"p0": "train"}), hand_pairs=None)


def test_a_split_comes_back_and_a_wrong_side_is_named(tmp_path):
    split = Split({"a": "train", "b": "test", "c": "validation"})
    write_split(split, tmp_path / "s.parquet")
    assert read_split(tmp_path / "s.parquet") == split
    assert list(split.ids("test")) == ["b"]
    (tmp_path / "s.csv").write_text("id,side\na,train\nb,left\n")
    with pytest.raises(InputError, match="row 2: side must be one of train.*'left'"):
        read_split(tmp_path / "s.csv")


def test_a_product_on_two_sides_is_refused(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("id,side\na,train\na,train\nb,test\na,test\n")
    with pytest.raises(InputError, match="row 4: product 'a' is on two sides, train"):
        read_split(path)


def test_impossible_shares_are_refused():
    with pytest.raises(ValueError, match=r"validation 0.5 and test 0.5"):
        split_catalog(catalog_of(["", ""]), validation=0.5, test=0.5)


def test_dissimilar_pairs_stay_on_one_side_as_far_as_clusters_are_small():
    """Lines of four groups, compared within the line: no side should lose a pair."""
    groups = [f"g{i // 2}" for i in range(800)]
    catalog = catalog_of(groups)
    near = [(8 * line + 2 * i, 8 * line + 2 * i + 2) for line in range(100)
            for i in range(3)]  # fmt: skip
    rng = np.random.default_rng(0)
    far = [tuple(rng.integers(0, 400, 2) * 2) for _ in range(600)]

    def kept(pairs):
        ids = [(f"p{a}", f"p{b}") for a, b in pairs]
        hand = canonical_pairs(*zip(*ids), [0] * len(ids))
        split = split_catalog(catalog, hand_pairs=hand)
        check_split(catalog, split, hand_pairs=hand)
        counts = split.counts()
        assert abs(counts["train"] - 480) <= 40
        sides = split.sides
        return np.mean([sides[a] == sides[b] for a, b in ids])

    assert kept(near) == 1.0
    # A tangle cannot be kept whole; at random 0.6^2 + 0.15^2 + 0.25^2 = 0.445 would be.
    assert 0.5 < kept(far) < 1
