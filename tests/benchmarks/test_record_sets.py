"""Folders of data sets as `benchmarks/record.py` reads them; all rows are our own."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from record_pair_sets import PairSet
from record_search_sets import SearchSet
from record_sets import layout_of, read_set

from simprod_tf.errors import InputError, SimprodError


def record(title: str, price: str = "") -> str:
    """Returns a record as a line of Ditto's layout has it."""
    return f"COL title VAL {title} COL price VAL {price}"


def write_lines(path: Path, rows: list[tuple[str, str, int]]) -> None:
    """Writes pairs of titles with labels."""
    lines = [f"{record(one)}\t{record(two)}\t{label}" for one, two, label in rows]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """Two tables; `same mug` stands in both, and one line stands there twice."""
    folder = tmp_path / "mugs"
    folder.mkdir()
    write_lines(
        folder / "train.txt",
        [("red mug", "mug in red", 1), ("red mug", "blue jar", 0)]
        + [(f"left {n}", f"right {n}", 1) for n in range(60)],
    )
    write_lines(
        folder / "valid.txt",
        [
            ("same mug", "same mug", 1),
            ("red mug", "blue jar", 0),
            ("red mug", "blue jar", 0),
        ],
    )
    write_lines(folder / "test.txt", [("green mug", "mug in red", 0)])
    return folder


def test_every_line_of_a_pair_file_counts(linked):
    data = read_set(linked, split="valid")
    assert isinstance(data, PairSet)
    valid = data.part("val")
    assert valid.labels.tolist() == [1, 0, 0]
    titles = data.catalog.titles[valid.rows].tolist()
    assert titles == [
        ["same mug"] * 2,
        ["red mug", "blue jar"],
        ["red mug", "blue jar"],
    ]


def test_a_record_in_both_tables_is_a_product_of_each(linked):
    data = read_set(linked, split="valid")
    first = data.part("valid").rows[0]
    assert first[0] != first[1]
    assert data.tables[first].tolist() == ["left", "right"]


def test_training_takes_each_pair_once(linked):
    data = read_set(linked, split="valid")
    pairs = data.part("valid").pairs(data.catalog)
    assert len(pairs) == 2
    assert pairs.num_positives == 1


def test_the_catalogue_holds_the_records_of_all_parts(linked):
    data = read_set(linked, split="valid")
    assert "green mug" in data.catalog.titles
    assert data.notes == ("the catalogue is all 126 records of train, valid, test",)


def test_records_on_both_sides_are_no_two_tables(tmp_path):
    rows = [("mug", "red mug", 1), ("red mug", "jar", 0), ("jar", "mug", 0)]
    for part in ("train", "valid"):
        write_lines(tmp_path / f"{part}.txt.small", rows)
    data = read_set(tmp_path, split="valid", size="small")
    assert data.tables is None
    assert len(data.catalog) == 3


def test_a_part_that_is_not_there_is_named(tmp_path):
    for part in ("train", "valid"):
        write_lines(tmp_path / f"{part}.txt", [("mug", "red mug", 1)])
    data = read_set(tmp_path, split="valid")
    with pytest.raises(SimprodError, match="has no part 'test'; it has train, valid"):
        data.part("test")


def test_a_folder_of_no_layout_is_refused(tmp_path):
    with pytest.raises(SimprodError, match="no layout that can be judged.*catalog.csv"):
        layout_of(tmp_path)


def write_catalog(folder: Path) -> None:
    """Writes three products, two of them of one group."""
    (folder / "catalog.csv").write_text(
        "id,title,group\na,red mug,g\nb,mug in red,g\nc,blue jar,\n"
    )


def test_a_catalogue_with_pair_files_is_read(tmp_path):
    write_catalog(tmp_path)
    for part in ("train", "valid", "test"):
        (tmp_path / f"pairs_{part}.csv").write_text(
            "anchor_id,other_id,label\nb,a,1\na,c,0\na,c,0\n"
        )
    data = read_set(tmp_path, split="test")
    assert data.part("test").rows.tolist() == [[1, 0], [0, 2], [0, 2]]
    assert data.has_groups
    assert data.tables is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,z,1", "'z' of the train pairs is not in the catalogue"),
        ("a,b,2", "row 2: label must be 1 .the same product. or 0, got '2'"),
    ],
)
def test_pairs_that_cannot_be_are_refused(tmp_path, row, message):
    write_catalog(tmp_path)
    (tmp_path / "pairs_train.csv").write_text(f"anchor_id,other_id,label\n{row}\n")
    with pytest.raises(InputError, match=message):
        read_set(tmp_path, split="valid")


def test_a_catalogue_without_training_pairs_is_refused(tmp_path):
    write_catalog(tmp_path)
    with pytest.raises(SimprodError, match="has no pairs to train on"):
        read_set(tmp_path, split="valid")


def test_magellan_tables_keep_their_ids_apart(tmp_path):
    (tmp_path / "tableA.csv").write_text("id,title\n1,red mug\n2,jar\n")
    (tmp_path / "tableB.csv").write_text("id,title\n1,mug in red\n")
    for part in ("train", "valid"):
        (tmp_path / f"{part}.csv").write_text(
            "ltable_id,rtable_id,label\n1,1,1\n2,1,0\n2,1,0\n"
        )
    data = read_set(tmp_path, split="valid")
    valid = data.part("valid")
    assert data.catalog.ids[valid.rows].tolist()[0] == ["a/1", "b/1"]
    assert len(valid.labels) == 3
    assert data.tables[valid.rows[0]].tolist() == ["a", "b"]


def test_wdc_offers_keep_every_line_and_their_clusters(tmp_path):
    def pair(one: int, two: int, label: int) -> dict:
        sides = {}
        for side, id in (("left", one), ("right", two)):
            known = {"id": id, "cluster_id": id // 10, "title": f"offer {id}"}
            sides |= {f"{name}_{side}": value for name, value in known.items()}
        return {"pair_id": f"{one}#{two}", "label": label, **sides}

    parts = {
        "computers_train_small": [pair(10, 11, 1), pair(10, 20, 0), pair(20, 21, 1)],
        "computers_gs": [pair(10, 30, 0), pair(10, 30, 0)],
    }
    for name, pairs in parts.items():
        text = "".join(json.dumps(one) + "\n" for one in pairs)
        (tmp_path / f"{name}.json.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "computers_valid_small.csv").write_text("pair_id\n20#21\n")
    data = read_set(tmp_path, split="test")
    assert {part: len(one.labels) for part, one in data.lines.items()} == {
        "train": 2,
        "valid": 1,
        "test": 2,
    }
    assert data.catalog["21"].group == "2"
    assert data.has_groups
    assert data.tables is None


def test_stanford_online_products_hold_out_whole_classes(tmp_path, write_picture):
    lines = ["image_id class_id super_class_id path"]
    for number in range(20):
        write_picture(tmp_path / "bicycle_final" / f"{number}.JPG", number)
        lines.append(f"{number + 1} {number // 2 + 1} 1 bicycle_final/{number}.JPG")
    (tmp_path / "Ebay_train.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "Ebay_test.txt").write_text(
        "\n".join([lines[0], "21 11 1 bicycle_final/0.JPG"]) + "\n"
    )
    data = read_set(tmp_path, split="valid")
    assert isinstance(data, SearchSet)
    learned, judged = (data.catalog.groups[r] for r in (data.train, data.queries))
    assert len(judged) == 4
    assert not set(learned) & set(judged)
    test = read_set(tmp_path, split="test")
    assert len(test.train) == 20
    assert np.array_equal(test.queries, [20])


def test_shopee_is_parted_by_group(tmp_path, write_shopee):
    write_shopee(tmp_path, 30)
    valid, test = (read_set(tmp_path, split=split) for split in ("valid", "test"))
    sides = [valid.train, valid.queries, test.queries]
    groups = [set(valid.catalog.groups[rows]) for rows in sides]
    assert all(len(rows) for rows in sides)
    assert not groups[0] & groups[1]
    assert not groups[1] & groups[2]
    assert np.array_equal(valid.queries, valid.candidates)
    assert "the set's own test has no labels" in valid.notes[1]


def test_in_shop_queries_search_the_gallery(tmp_path, write_picture):
    places = [("train", 0), ("train", 1), ("query", 2), ("gallery", 2), ("gallery", 3)]
    lines = [str(len(places)), "image_name item_id evaluation_status"]
    for number, (status, item) in enumerate(places):
        name = f"img/WOMEN/Skirts/id_{item:08}/{number:02}_front.jpg"
        write_picture(tmp_path / "Img" / name, number)
        lines.append(f"{name} id_{item:08} {status}")
    (tmp_path / "Eval").mkdir()
    (tmp_path / "Eval" / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    data = read_set(tmp_path, split="test")
    assert len(data.train) == 2
    assert data.catalog.groups[data.queries].tolist() == ["id_00000002"]
    assert sorted(data.catalog.groups[data.candidates]) == [
        "id_00000002",
        "id_00000003",
    ]
    assert data.notes == ("2 products to learn from, 1 queries among 2 candidates",)
