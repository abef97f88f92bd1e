"""Shopee's layout, on rows of our own."""

from __future__ import annotations

import pytest

from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.formats.shopee import convert
from simprod_tf.errors import InputError

HEADER = "posting_id,image,image_phash,title,label_group\n"


@pytest.fixture
def folder(make_set):
    return make_set("shopee")


def test_postings_become_products_in_groups(folder, tmp_path):
    done = convert(folder, tmp_path / "out")
    assert "3 products in 2 groups" in done.notes[0]
    catalog = read_catalog(tmp_path / "out" / "catalog.csv").catalog
    assert list(catalog.ids) == ["train_1", "train_2", "train_3"]
    assert list(catalog.groups) == ["24", "24", "25"]
    first = catalog["train_1"]
    assert first.title == "Kotak Pensil, biru"
    assert first.image == str(folder / "train_images" / "a.png")
    assert first.attributes == {"image_phash": "94974f937d4c2433"}
    assert catalog["train_2"].image == catalog["train_3"].image


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("posting_id,image,title\nt,a.png,x\n", "column 'image_phash' is missing"),
        (f"{HEADER}t1,a.png,9,x,1\nt2,a.p", "row 2: 2 columns instead of 5"),
        (f"{HEADER}t1,a.png,9,x,1\nt1,b.png,9,x,1\n", "row 2: id 't1' stands already"),
        (f"{HEADER}t1,a.png,9,x,\n", "row 1: column 'label_group' is empty"),
        (f"{HEADER}t1,,9,x,1\n", "row 1: column 'image' is empty"),
        (f"{HEADER}t1,a.png,9,x,1\nt2,c.png,9,x,1\n", r"row 2: picture .*c.png does"),
        (HEADER, "no row stands below the header"),
    ],
)
def test_what_is_wrong_is_named(folder, tmp_path, text, message):
    (folder / "train.csv").write_text(text)
    with pytest.raises(InputError, match=f"train.csv.*{message}"):
        convert(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
