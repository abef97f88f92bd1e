"""The serialised layout of product-matching sets, on lines of our own."""

from __future__ import annotations

import pytest

from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.formats.product_matching import convert, read_product_matching
from simprod_tf.data.pairs import read_pairs
from simprod_tf.errors import InputError

MUG = "COL name VAL blue mug, 350 ml COL price VAL 4.5"
CUP = 'COL name VAL cup "blue" COL price VAL '
PAN = "COL name VAL pan COL price VAL 30"


def line(left, right, label):
    return f"{left}\t{right}\t{label}\n"


@pytest.fixture
def matching(tmp_path):
    """Two lines that train, one that validates."""
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.txt").write_text(line(MUG, CUP, 1) + line(PAN, CUP, 0))
    (folder / "valid.txt").write_text(line(MUG, PAN, 0))
    return folder


def test_records_become_one_catalogue_and_parts_their_pairs(matching, tmp_path):
    convert(matching, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"catalog.csv", "pairs_train.csv", "pairs_valid.csv"}
    catalog = read_catalog(tmp_path / "out" / "catalog.csv").catalog
    assert list(catalog.titles) == ["blue mug, 350 ml", 'cup "blue"', "pan"]
    assert list(catalog.column("price")) == ["4.5", "", "30"]
    # The pan stands left in train and right in valid.
    assert list(catalog.column("table")) == ["left", "right", "both"]
    mug, cup, pan = catalog.ids
    train = read_pairs(tmp_path / "out" / "pairs_train.csv", source="hand")
    labels = zip(train.anchor_ids, train.other_ids, train.labels)
    assert {(frozenset((a, b)), label) for a, b, label in labels} == {
        (frozenset((mug, cup)), 1),
        (frozenset((pan, cup)), 0),
    }
    valid = read_pairs(
        tmp_path / "out" / "pairs_valid.csv", source="hand", known_ids=catalog.ids
    )
    assert {valid.anchor_ids[0], valid.other_ids[0]} == {mug, pan}


def test_what_the_parts_share_is_counted(matching):
    (matching / "test.txt").write_text(
        line(CUP, MUG, 1) + line("COL name VAL lid", "COL name VAL pot", 0)
    )
    found = read_product_matching(matching)
    assert list(found.pairs) == ["train", "valid", "test"]
    assert vars(found.overlaps["valid"]) == {
        "records": 2, "of_records": 2, "pairs": 0, "of_pairs": 1
    }  # fmt: skip
    assert vars(found.overlaps["test"]) == {
        "records": 2, "of_records": 4, "pairs": 1, "of_pairs": 2
    }  # fmt: skip


def test_an_id_is_of_the_content_alone(matching, tmp_path):
    before = dict(zip(*titles_and_ids(matching)))
    other = tmp_path / "other"
    other.mkdir()
    swapped = "COL price VAL 30 COL name VAL  pan "
    without_price = 'COL name VAL cup "blue"'
    (other / "train.txt").write_text(line(without_price, swapped, 0))
    (other / "valid.txt").write_text(line(MUG.replace("4.5", "5"), PAN, 0))
    after = dict(zip(*titles_and_ids(other)))
    assert after["pan"] == before["pan"]
    assert after['cup "blue"'] == before['cup "blue"']
    assert after["blue mug, 350 ml"] != before["blue mug, 350 ml"]


def titles_and_ids(folder):
    catalog = read_product_matching(folder).catalog
    return catalog["title"].to_pylist(), catalog["id"].to_pylist()


def test_self_pairs_duplicates_and_contradictions_are_left_out_and_counted(matching):
    (matching / "train.txt").write_text(
        line(MUG, MUG, 1)
        + line(MUG, CUP, 1)
        + line(CUP, MUG, 1)
        + line(PAN, CUP, 0)
        + line(PAN, CUP, 1)
    )
    found = read_product_matching(matching)
    train = found.pairs["train"]
    assert len(train) == 1
    assert train.labels[0] == 1
    assert train.dropped == {"self-pair": 1, "duplicate": 1, "conflicting labels": 1}
    # Published figures count every line.
    lines = found.lines["train"]
    mug, cup, pan = found.catalog["id"].to_pylist()
    assert lines.left_ids == [mug, mug, cup, pan, pan]
    assert lines.right_ids == [mug, cup, mug, cup, cup]
    assert lines.labels == [1, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("record", "attribute"),
    [
        ("COL name VAL n COL title VAL t", "title"),
        ("COL brand VAL b COL name VAL n", "name"),
        ("COL Beer_Name VAL n COL Brew VAL b", "Beer_Name"),
    ],
)
def test_the_title_is_title_or_name_or_the_first_attribute(matching, record, attribute):
    for part in ("train", "valid"):
        (matching / f"{part}.txt").write_text(line(record, record + " 2", 1))
    found = read_product_matching(matching)
    assert found.title_attribute == attribute
    assert attribute == "title" or attribute not in found.catalog.column_names


def test_attributes_never_take_the_catalogues_own_columns(matching):
    record = "COL title VAL mug COL id VAL 7 COL image VAL x.jpg COL table VAL oak"
    for part in ("train", "valid"):
        (matching / f"{part}.txt").write_text(line(record, "COL title VAL pan", 0))
    catalog = read_product_matching(matching).catalog
    assert catalog.column_names == [
        "id", "title", "table", "record_id", "record_image", "record_table"
    ]  # fmt: skip
    assert catalog["record_id"].to_pylist() == ["7", ""]
    assert catalog["table"].to_pylist() == ["left", "right"]


def test_line_ends_marks_and_strange_characters_of_titles_are_read(matching):
    odd = "COL name VAL mug\u2028COLD VAL\x85 COLOUR VAL COL price VAL"
    text = "\ufeff" + line(odd, PAN, 1).replace("\n", "\r\n") + "\r\n"
    (matching / "train.txt").write_bytes(text.encode())
    found = read_product_matching(matching)
    assert len(found.pairs["train"]) == 1
    assert found.catalog["title"][0].as_py() == "mug\u2028COLD VAL\x85 COLOUR VAL"
    assert found.catalog["price"][0].as_py() == ""


def test_a_set_of_several_sizes_asks_for_one(matching):
    for part in ("train", "valid"):
        for size in ("small", "medium"):
            text = (matching / f"{part}.txt").read_text()
            (matching / f"{part}.txt.{size}").write_text(text)
        (matching / f"{part}.txt").unlink()
    with pytest.raises(InputError, match=r"train.txt: .* --size medium or small\."):
        read_product_matching(matching)
    assert len(read_product_matching(matching, size="small").pairs["train"]) == 2
    (matching / "test.txt").write_text(line(MUG, PAN, 0) + line(MUG, CUP, 1))
    found = read_product_matching(matching, size="small")
    assert len(found.pairs["test"]) == 2
    (matching / "test.txt.small").write_text(line(MUG, PAN, 0))
    assert len(read_product_matching(matching, size="small").pairs["test"]) == 1
    with pytest.raises(InputError, match=r"train.txt.large: there is no such file"):
        read_product_matching(matching, size="large")


@pytest.mark.parametrize(
    ("text", "row", "message"),
    [
        (f"{MUG}\t{PAN}\n", 2, "expected two records and a label .* got 2 fields"),
        (f"{MUG}\t{PAN}\t1\t1\n", 2, "got 4 fields"),
        (line(MUG, PAN, "yes"), 2, "label must be 1 .* or 0, got 'yes'"),
        (line(MUG, PAN, ""), 2, "label must be 1 .* or 0, got ''"),
        ("\n" + line(MUG, "pan", 1), 3, "a record must read `COL .*, got 'pan'"),
        (line(MUG, "new " + PAN, 1), 2, "a record must read"),
        (line(MUG, PAN + " COL price VAL 4", 1), 2, "'price' stands twice"),
        (line(MUG, "COL price VAL 4", 1), 2, "a record has no 'name', which is the"),
        (line(MUG, "COL name VAL  COL price VAL 4", 1), 2, "a record has no 'name'"),
    ],
)
def test_a_bad_line_is_named(matching, tmp_path, text, row, message):
    (matching / "train.txt").write_text(line(MUG, CUP, 1) + text)
    with pytest.raises(InputError, match=f"train.txt, row {row}: .*{message}"):
        convert(matching, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_text_that_is_not_utf8_is_named_by_its_line(matching):
    bad = line(MUG, PAN, 0).encode() + b"COL name VAL caf\xe9\t" + PAN.encode() + b"\t1"
    (matching / "valid.txt").write_bytes(bad)
    with pytest.raises(InputError, match=r"valid.txt, row 2: not UTF-8 text"):
        read_product_matching(matching)


def test_missing_and_empty_files_are_refused(matching):
    (matching / "train.txt").write_text(" \n")
    with pytest.raises(InputError, match=r"train.txt: the file is empty"):
        read_product_matching(matching)
    (matching / "valid.txt").unlink()
    (matching / "train.txt").write_text(line(MUG, CUP, 1))
    with pytest.raises(InputError, match=r"valid.txt: there is no such file"):
        read_product_matching(matching)
    with pytest.raises(InputError, match=r"train.txt: there is no such file"):
        read_product_matching(matching / "none")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "size", "lines"),
    [
        # Lines and label 1 as `wc -l` and `grep -c "1$"` count them, then what falls
        # out of either.
        ("Abt-Buy", None, {"train": (5743, 616), "valid": (1916, 206)}),
        ("Amazon-Google", None, {"train": (6874, 699), "valid": (2293, 234)}),
        ("wdc-computers", "small", {"train": (2231, 557), "valid": (536, 149)}),
    ],
)
def test_no_line_of_a_published_set_is_lost(real_data, name, size, lines):
    found = read_product_matching(real_data / "product_matching" / name, size=size)
    for part, (total, positives) in lines.items():
        pairs = found.pairs[part]
        dropped = dict(pairs.dropped)
        # A pair labelled both ways takes two lines with it.
        lost = dropped.pop("duplicate", 0) + 2 * dropped.pop("conflicting labels", 0)
        assert dropped == {}
        assert len(pairs) + lost == total
        assert positives - lost <= pairs.num_positives <= positives
    catalog = found.catalog
    assert len(set(catalog["id"].to_pylist())) == catalog.num_rows
    records = {tuple(row.values())[1:] for row in catalog.drop("table").to_pylist()}
    assert len(records) == catalog.num_rows
