"""Web Data Commons' layouts, on offers of our own."""

from __future__ import annotations

import copy
import gzip

import pytest

from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.formats.wdc import convert, read_wdc
from simprod_tf.data.pairs import read_pairs
from simprod_tf.errors import InputError

TRAIN = "computers_train/computers_train_medium.json.gz"
LISTED = "computers_valid/computers_valid_medium.csv"


@pytest.fixture
def folder(make_set):
    return make_set("wdc")


@pytest.fixture
def pairs(sets):
    """The two pairs of the training file, to be changed."""
    return copy.deepcopy(sets.WDC_PAIRS[TRAIN])


def pairs_of(path):
    found = read_pairs(path, source="hand")
    return set(zip(found.anchor_ids, found.other_ids, found.labels))


def test_offers_become_one_catalogue_and_parts_their_pairs(folder, tmp_path):
    out = tmp_path / "out"
    done = convert(folder, out)
    assert [path.name for path in done.paths] == [
        "catalog.csv", "pairs_train.csv", "pairs_valid.csv", "pairs_test.csv"
    ]  # fmt: skip
    catalog = read_catalog(out / "catalog.csv").catalog
    assert list(catalog.ids) == ["1", "2", "3", "4"]
    assert list(catalog.groups) == ["70", "70", "71", "72"]
    assert catalog["1"].title == "8 GB stick, blue"
    assert catalog["1"].attributes == {
        "brand": "Acme", "keyValuePairs": '{"size": "8 GB"}'
    }  # fmt: skip
    assert catalog["2"].attributes == {}
    # The listed pair of the training file is the one to validate on.
    assert pairs_of(out / "pairs_train.csv") == {("1", "2", 1)}
    assert pairs_of(out / "pairs_valid.csv") == {("1", "3", 0)}
    assert pairs_of(out / "pairs_test.csv") == {("3", "4", 0)}


def test_lines_are_those_of_the_files_nothing_left_out(folder, sets, pairs):
    sets.write_pairs_file(folder / TRAIN, [pairs[0], pairs[1], pairs[0]])
    train = read_wdc(folder).lines["train"]
    assert (train.left_ids, train.right_ids, train.labels) == (
        ["1", "1"], ["2", "2"], [1, 1]
    )  # fmt: skip
    assert len(train.pairs()) == 1


def test_wdc_products_has_files_of_its_own_for_each_part(folder, sets, pairs, tmp_path):
    place = tmp_path / "products"
    stem = "wdcproducts80cc20rnd"
    for name in ("000un_train_small", "000un_valid_small", "000un_gs", "100un_gs"):
        sets.write_pairs_file(place / f"{stem}{name}.json.gz", pairs[:1])
    # Another set's test.
    sets.write_pairs_file(place / "wdcproducts50cc50rnd000un_gs.json.gz", pairs[1:])
    done = convert(place, tmp_path / "out")
    assert [path.name for path in done.paths] == [
        "catalog.csv", "pairs_train.csv", "pairs_valid.csv", "pairs_test.csv",
        "pairs_test_100un.csv",
    ]  # fmt: skip
    assert list(read_catalog(tmp_path / "out" / "catalog.csv").catalog.ids) == [
        "1",
        "2",
    ]


def test_of_several_sizes_one_is_chosen(folder, sets, pairs, tmp_path):
    sets.write_pairs_file(folder / "computers_train_small.json.gz", pairs)
    with pytest.raises(InputError, match="choose --size medium or small"):
        convert(folder, tmp_path / "out")
    with pytest.raises(InputError, match="no size 'large'; choose --size medium or sm"):
        convert(folder, tmp_path / "out", size="large")
    with pytest.raises(
        InputError, match=r"computers_valid_small.csv: there is no such"
    ):
        convert(folder, tmp_path / "out", size="small")
    (folder / "computers_valid_small.csv").write_text("pair_id\n1#2\n")
    convert(folder, tmp_path / "out", size="small")
    assert pairs_of(tmp_path / "out" / "pairs_valid.csv") == {("1", "2", 1)}


def test_a_folder_of_several_sets_or_of_none_is_refused(folder, sets, pairs, tmp_path):
    sets.write_pairs_file(folder / "shoes_train_small.json.gz", pairs)
    with pytest.raises(InputError, match="holds several sets: computers, shoes; put"):
        convert(folder, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="there is no such file.* get a product-match"):
        convert(tmp_path / "empty", tmp_path / "out")


def test_an_offer_that_comes_back_keeps_its_first_text(folder, sets, pairs, tmp_path):
    pairs[1]["title_left"] = "another stick"
    sets.write_pairs_file(folder / TRAIN, pairs)
    done = convert(folder, tmp_path / "out")
    assert "1 offers read otherwise on a later line" in done.notes[-1]
    catalog = read_catalog(tmp_path / "out" / "catalog.csv").catalog
    assert catalog["1"].title == "8 GB stick, blue"


def test_an_offer_without_title_is_called_by_other_text(folder, sets, pairs, tmp_path):
    pairs[0].update(title_right=None, brand_right="Acme")
    sets.write_pairs_file(folder / TRAIN, pairs)
    convert(folder, tmp_path / "out")
    assert read_catalog(tmp_path / "out" / "catalog.csv").catalog["2"].title == "Acme"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 2}, "label must be 1 .* or 0, got 2"),
        ({"label": None}, "label must be .* got None"),
        ({"id_left": ""}, "the left offer has no id"),
        (
            {"title_right": "", "brand_right": "", "keyValuePairs_right": None},
            "the right offer has no text",
        ),
    ],
)
def test_a_bad_pair_is_named_by_its_line(
    folder, sets, pairs, tmp_path, change, message
):
    sets.write_pairs_file(folder / TRAIN, [pairs[1], {**pairs[0], **change}])
    with pytest.raises(InputError, match=f"medium.json.gz, row 2: {message}"):
        convert(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_line_of_another_layout_is_refused(folder, sets, pairs, tmp_path):
    sets.write_pairs_file(folder / TRAIN, [{"left": 1, "right": 2, "label": 1}])
    with pytest.raises(
        InputError, match="row 1: 'pair_id' is missing.* has: <name>_tr"
    ):
        convert(folder, tmp_path / "out")
    sets.write_pairs_file(folder / TRAIN, [*pairs, [1, 2]])
    with pytest.raises(InputError, match="row 3: not a JSON object"):
        convert(folder, tmp_path / "out")


def test_files_cut_short_or_of_no_lines_are_refused(folder, sets, pairs, tmp_path):
    sets.write_pairs_file(folder / TRAIN, pairs * 50)
    whole = (folder / TRAIN).read_bytes()
    (folder / TRAIN).write_bytes(whole[:-20])
    with pytest.raises(
        InputError, match="medium.json.gz: no gzip file, or one cut short"
    ):
        convert(folder, tmp_path / "out")
    (folder / TRAIN).write_bytes(b'{"pair_id": 1}\n')
    with pytest.raises(InputError, match="no gzip file, or one cut short"):
        convert(folder, tmp_path / "out")
    sets.write_pairs_file(folder / TRAIN, [])
    with pytest.raises(InputError, match="medium.json.gz: the file is empty"):
        convert(folder, tmp_path / "out")


def test_a_line_that_is_not_json_or_not_utf8_is_named(folder, tmp_path):
    for line, message in ((b"{cut", "not JSON"), (b'{"a": "caf\xe9"}', "not UTF-8")):
        (folder / TRAIN).write_bytes(gzip.compress(b"\n" + line))
        with pytest.raises(InputError, match=f"row 2: {message}"):
            convert(folder, tmp_path / "out")


def test_a_pair_to_validate_on_must_be_in_the_training_file(folder, tmp_path):
    (folder / LISTED).write_text("pair_id\n1#3\n7#8\n")
    with pytest.raises(
        InputError, match="medium.csv, row 2: pair '7#8' does not stand"
    ):
        convert(folder, tmp_path / "out")
