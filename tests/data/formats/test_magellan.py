"""Entity-matching folders of CSV files, on rows of our own."""

from __future__ import annotations

import pytest

from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.formats.magellan import convert, read_magellan
from simprod_tf.data.pairs import read_pairs
from simprod_tf.errors import InputError


@pytest.fixture
def folder(make_set):
    return make_set("er-magellan")


def test_ids_keep_their_table_and_pairs_join_both(folder, tmp_path):
    convert(folder, tmp_path / "out")
    catalog = read_catalog(tmp_path / "out" / "catalog.csv").catalog
    assert list(catalog.ids) == ["a/1", "a/2", "b/1", "b/3"]
    assert list(catalog.titles) == ["blue mug", "pan", "mug, blue", "lid"]
    assert list(catalog.column("price")) == ["4.5", "30", "", "2"]
    assert list(catalog.column("table")) == ["a", "a", "b", "b"]
    pairs = read_pairs(tmp_path / "out" / "pairs_train.csv", source="hand")
    found = set(zip(pairs.anchor_ids, pairs.other_ids, pairs.labels))
    assert found == {("a/1", "b/1", 1), ("a/2", "b/1", 0)}


def test_the_test_part_may_be_held_back_and_duplicates_are_counted(folder, tmp_path):
    (folder / "test.csv").unlink()
    with (folder / "train.csv").open("a") as file:
        file.write("1,1,1\n")
    train = read_magellan(folder).lines["train"]
    assert (len(train), train.left_ids, train.labels) == (
        3, ["a/1", "a/2", "a/1"], [1, 0, 1]
    )  # fmt: skip
    done = convert(folder, tmp_path / "out")
    names = [path.name for path in done.paths]
    assert names == ["catalog.csv", "pairs_train.csv", "pairs_valid.csv"]
    assert "Pairs(2, 1 of them similar)" in done.notes[1]
    assert "left out: duplicate: 1" in done.notes[1]


def test_a_title_is_title_or_name_or_the_first_attribute_there_is(folder, tmp_path):
    (folder / "tableA.csv").write_text("id,name,image\n1,mug,x.jpg\n2,,y.jpg\n")
    (folder / "tableB.csv").write_text("id,Beer,Brewery\n1,Pils,Acme\n3,,Zed\n")
    convert(folder, tmp_path / "out")
    catalog = read_catalog(tmp_path / "out" / "catalog.csv").catalog
    assert list(catalog.titles) == ["mug", "y.jpg", "Pils", "Zed"]
    # An attribute never takes the catalogue's own column.
    assert list(catalog.column("record_image")) == ["x.jpg", "y.jpg", "", ""]
    assert list(catalog.column("Brewery")) == ["", "", "Acme", "Zed"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("tableA.csv", "title\nmug\n", "tableA.csv: column 'id' is missing"),
        ("tableA.csv", "id\n1\n", "need an attribute beside their id"),
        ("tableA.csv", "id,title\n1,a\n2\n", "row 2: 1 columns instead of 2"),
        ("tableA.csv", "id,title\n1,a\n1,b\n", "row 2: id '1' stands already in row 1"),
        ("tableA.csv", "id,title\n1,a\n,b\n", "row 2: the id is empty"),
        ("tableB.csv", "id,title,price\n1,,\n", "row 1: every attribute is empty"),
        ("tableB.csv", "id,title\n", "no row stands below the header"),
        ("train.csv", "ltable_id,label\n1,1\n", "column 'rtable_id' is missing; the"),
        ("train.csv", "ltable_id,rtable_id,label\n1,3,1\n2,1,2\n", "row 2: label must"),
        ("train.csv", "ltable_id,rtable_id,label\n1,3,\n", "row 1: label .* got ''"),
        ("valid.csv", "ltable_id,rtable_id,label\n3,1,0\n", "'3' does not .* tableA"),
        ("valid.csv", "ltable_id,rtable_id,label\n1,2,0\n", "'2' does not .* tableB"),
    ],
)
def test_what_is_wrong_is_named(folder, tmp_path, name, text, message):
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=f"{name}.*{message}|{message}"):
        convert(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
