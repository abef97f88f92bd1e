"""The Grocery Store layout, on rows of our own."""

from __future__ import annotations

import pytest

from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.formats.grocery_store import convert
from simprod_tf.errors import InputError


@pytest.fixture
def grocery(tmp_path, make_picture):
    folder = tmp_path / "set"
    for number, name in enumerate(["n/p1.jpg", "n/p2.jpg", "n/v1.jpg", "i/kiwi.jpg"]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        make_picture(number).save(folder / name)
    header = "path,fine_id,coarse_id\n"
    (folder / "train.csv").write_text(header + "n/p1.jpg,7,2\nn/p2.jpg,7,2\n")
    (folder / "val.csv").write_text(header + "n/v1.jpg,7,2\n")
    (folder / "classes.csv").write_text(
        "fine_id,name,coarse_id,coarse_name,iconic_image,description\n"
        '7,Green-Kiwi,2,Kiwi,i/kiwi.jpg,"Sweet, green."\n'
    )
    return folder


def test_photos_and_classes_become_catalogues(grocery, tmp_path):
    out = tmp_path / "out"
    names = [path.name for path in convert(grocery, out)]
    assert names == ["classes.csv", "train.csv", "val.csv", "known.csv"]
    train = read_catalog(out / "train.csv").catalog
    assert list(train.ids) == ["n/p1", "n/p2"]
    assert list(train.groups) == ["Green-Kiwi"] * 2
    assert list(train.column("coarse")) == ["2", "2"]
    kiwi = read_catalog(out / "classes.csv").catalog["class/Green-Kiwi"]
    assert kiwi.title == "Green Kiwi. Sweet, green."
    assert kiwi.image == str(grocery / "i" / "kiwi.jpg")
    assert len(read_catalog(out / "known.csv").catalog) == 3


def test_a_folder_without_the_listing_is_refused(grocery, tmp_path):
    (grocery / "train.csv").unlink()
    with pytest.raises(InputError, match="train.csv: there is no such file"):
        convert(grocery, tmp_path / "out")
