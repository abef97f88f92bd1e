"""Stanford Online Products' layout, on rows of our own."""

from __future__ import annotations

import pytest

from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.formats.stanford_online_products import convert
from simprod_tf.errors import InputError

HEADER = "image_id class_id super_class_id path\n"
PICTURE = "bicycle_final/10_0.png"


@pytest.fixture
def folder(make_set):
    return make_set("stanford-online-products")


def test_each_part_becomes_a_catalogue_with_classes_as_groups(folder, tmp_path):
    convert(folder, tmp_path / "out")
    train = read_catalog(tmp_path / "out" / "train.csv").catalog
    assert list(train.ids) == ["1", "2", "3"]
    assert list(train.groups) == ["1", "1", "2"]
    assert list(train.column("category")) == ["bicycle", "bicycle", "coffee_maker"]
    assert list(train.column("super_class_id")) == ["1", "1", "4"]
    assert train["3"].image == str(folder / "coffee_maker_final" / "20_0.png")
    assert list(read_catalog(tmp_path / "out" / "test.csv").catalog.groups) == ["3"]


def test_the_test_part_may_be_held_back(folder, tmp_path):
    (folder / "Ebay_test.txt").unlink()
    assert [path.name for path in convert(folder, tmp_path).paths] == ["train.csv"]


def test_pictures_are_counted_while_they_are_looked_for(folder, tmp_path):
    told = []
    convert(folder, tmp_path / "out", progress=lambda *step: told.append(step))
    assert told == [
        ("Looking for pictures of Ebay_train.txt", 3, 3),
        ("Looking for pictures of Ebay_test.txt", 1, 1),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id path\n", r"the header must read 'image_id class_id .*got \["),
        (f"1 1 1 {PICTURE}\n", "the header must read"),
        (HEADER, "no row stands below the header"),
        (f"{HEADER}1 1 1 {PICTURE}\n2 1", "row 2: expected 4 words .* got 2"),
        (f"{HEADER}1 1 1 {PICTURE[:-6]}", "row 1: picture .*bicycle_final/10 does not"),
        (f"{HEADER}1 1 1 {PICTURE}\n1 1 1 {PICTURE}\n", "row 2: id '1' stands already"),
    ],
)
def test_what_is_wrong_is_named(folder, tmp_path, text, message):
    (folder / "Ebay_train.txt").write_text(text)
    with pytest.raises(InputError, match=f"Ebay_train.txt.*{message}"):
        convert(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [("1 9 1", "row 1: image 1 stands in"), ("9 2 1", "row 1: class 2 stands in")],
)
def test_parts_that_share_a_picture_or_a_product_are_refused(
    folder, tmp_path, line, message
):
    (folder / "Ebay_test.txt").write_text(f"{HEADER}{line} {PICTURE}\n")
    with pytest.raises(InputError, match=f"Ebay_test.txt, {message} Ebay_train.txt"):
        convert(folder, tmp_path / "out")
