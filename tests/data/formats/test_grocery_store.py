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


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.csv", "path,fine\nn/p1.jpg,7\n", "column 'fine_id' is missing"),
        ("train.csv", "n/p1.jpg,7\n", "row 1: 2 columns instead of 3"),
        ("train.csv", "n/p1.jpg,8,2\n", "row 1: fine_id '8' does not stand in classes"),
        ("train.csv", "n/p1.jpg,7,2\n" * 2, "row 2: id 'n/p1' stands already in row 1"),
        ("train.csv", "n/p9.jpg,7,2\n", r"row 1: picture .*p9.jpg does not exist"),
        ("val.csv", "n/p1.jpg,7,2\nn/v1.jp,7,2\n", r"row 2: picture .*v1.jp does not"),
    ],
)
def test_what_is_wrong_is_named(grocery, tmp_path, name, text, message):
    header = "" if text.startswith("path") else "path,fine_id,coarse_id\n"
    (grocery / name).write_text(header + text)
    with pytest.raises(InputError, match=f"{name}.*{message}"):
        convert(grocery, tmp_path / "out")
    assert not (tmp_path / "out").exists()
