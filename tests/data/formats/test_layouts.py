"""What all layouts have in common, on small sets of our own."""

from __future__ import annotations

import shutil

import pytest

from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.events import read_events
from simprod_tf.data.formats.layouts import (
    LAYOUTS,
    convert_folder,
    find_layout,
    recognise,
)
from simprod_tf.data.pairs import read_pairs
from simprod_tf.engine.embedded import Embedded
from simprod_tf.errors import InputError

# A file without which a set cannot be converted, for each layout.
NEEDED = {
    "grocery-store": "train.csv",
    "product-matching": "valid.txt.small",
    "er-magellan": "valid.csv",
    "wdc": "computers_valid/computers_valid_medium.csv",
    "shopee": "train.csv",
    "stanford-online-products": "Ebay_train.txt",
    "in-shop": "Eval/list_eval_partition.txt",
    "retailrocket": "item_properties_part2.csv",
    "yoochoose": "yoochoose-buys.dat",
    "otto": "otto-train.jsonl",
}
# RetailRocket's items have neither titles nor pictures.
WITHOUT_CONTENT = {"retailrocket"}


def size_of(layout):
    return "small" if layout == "product-matching" else None


def test_each_layout_has_a_small_set_here(sets):
    assert set(sets.LAYOUTS) == set(LAYOUTS) == set(NEEDED)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_is_recognised_by_its_files(make_set, layout):
    assert recognise(make_set(layout)) == layout


def test_a_folder_of_another_kind_is_not_recognised(tmp_path):
    assert recognise(tmp_path) is None
    assert recognise(tmp_path / "none") is None
    (tmp_path / "catalog.csv").write_text("id,title\n1,mug\n")
    # As in the Grocery Store's repository; no records.
    (tmp_path / "train.txt").write_text("train/Apple/1.jpg, 0, 0\n")
    (tmp_path / "train.csv").write_text("anchor_id,other_id,label\n1,2,1\n")
    (tmp_path / "events.jsonl").write_text('{"session": 1, "event": "view"}\n')
    (tmp_path / "other.jsonl").write_text("{no JSON\n")
    (tmp_path / "events.csv").write_text("session,id,event,time\n")
    assert recognise(tmp_path) is None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_written_reads_back(make_set, layout, tmp_path):
    told = []
    done = convert_folder(
        layout,
        make_set(layout),
        tmp_path / "out",
        size=size_of(layout),
        progress=lambda *step: told.append(step),
    )
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {path.name for path in done.paths} == names
    assert {path.parent for path in done.paths} == {tmp_path / "out"}
    assert all(any(path.name in note for note in done.notes) for path in done.paths)
    assert all(0 <= step[1] <= step[2] for step in told)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "set"]
    ids = None
    for path in done.paths:
        if path.name.startswith("pairs_"):
            assert len(read_pairs(path, source="hand", known_ids=ids)) == 1 + (
                layout == "er-magellan" and path.stem == "pairs_train"
            )
        elif path.suffix == ".parquet":
            with Embedded(threads=1) as engine:
                assert read_events(path, engine=engine).counts["purchases"] == 1
        else:
            need = layout not in WITHOUT_CONTENT
            ids = read_catalog(path, need_content=need).catalog.ids


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_file_is_named_with_where_to_get_it(make_set, layout, tmp_path):
    folder = make_set(layout)
    (folder / NEEDED[layout]).unlink()
    with pytest.raises(InputError) as refused:
        convert_folder(layout, folder, tmp_path / "out", size=size_of(layout))
    said = str(refused.value)
    source = LAYOUTS[layout].source
    assert "there is no such file" in said
    for part in (source.name, source.page, source.terms, source.holds):
        assert part in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_empty_file_is_refused(make_set, layout, tmp_path):
    folder = make_set(layout)
    (folder / NEEDED[layout]).write_bytes(b"")
    message = "there is no such file" if layout == "otto" else "the file is empty"
    with pytest.raises(InputError, match=message):
        convert_folder(layout, folder, tmp_path / "out", size=size_of(layout))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_text_that_is_not_utf8_is_refused(make_set, layout, tmp_path):
    folder = make_set(layout)
    path = folder / NEEDED[layout]
    content = path.read_bytes()
    last = content.rstrip(b"\n").splitlines()[-1]
    path.write_bytes(content + last[:1] + b"\xe9" + last[1:] + b"\n")
    with pytest.raises(InputError, match=r", row \d+: not (UTF-8 text|JSON in UTF-8)"):
        convert_folder(layout, folder, tmp_path / "out", size=size_of(layout))
    assert not (tmp_path / "out").exists()


def test_files_of_others_in_the_out_folder_stay(make_set, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    convert_folder("shopee", make_set("shopee"), out)
    assert (out / "notes.txt").read_text() == "mine"
    assert len(read_catalog(out / "catalog.csv").catalog) == 3


def test_a_catalogue_of_others_is_not_replaced_but_one_of_our_own_is(
    make_set, tmp_path
):
    folder, out = make_set("shopee"), tmp_path / "out"
    convert_folder("shopee", folder, out)
    (out / "catalog.csv").write_text("old")
    convert_folder("shopee", folder, out)
    assert len(read_catalog(out / "catalog.csv").catalog) == 3
    (out / "hand_pairs.csv").write_text("mine")
    (out / "catalog.csv").write_text("mine, too")
    with pytest.raises(InputError, match="'hand_pairs.csv', .* its 'catalog.csv'"):
        convert_folder("shopee", folder, out)
    assert (out / "catalog.csv").read_text() == "mine, too"
    assert sorted(path.name for path in out.iterdir()) == [
        "catalog.csv",
        "hand_pairs.csv",
    ]


def test_a_folder_of_another_layout_says_which(make_set, tmp_path):
    folder = make_set("yoochoose")
    with pytest.raises(InputError, match="not of the layout otto but of yoochoose: "):
        convert_folder("otto", folder, tmp_path / "out")


def test_folders_that_cannot_be_are_refused(make_set, tmp_path):
    folder = make_set("shopee")
    with pytest.raises(InputError, match="this is the data set itself"):
        convert_folder("shopee", folder, folder)
    with pytest.raises(InputError, match="there is no such folder. .* get Shopee"):
        convert_folder("shopee", tmp_path / "none", tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: is a file; name a folder"):
        convert_folder("shopee", folder, tmp_path / "file")


def test_unknown_layouts_and_sizes_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="layout must be one of grocery-store, .*'ebay'"
    ):
        convert_folder("ebay", tmp_path, tmp_path / "out")
    with pytest.raises(
        ValueError, match="a size is for product-matching and wdc alone"
    ):
        find_layout("shopee", size="small")
    assert find_layout("wdc", size="small").name == "wdc"


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("grocery_store", "grocery-store"),
        ("product_matching/Abt-Buy", "product-matching"),
        ("product_matching/wdc-computers", "product-matching"),
        ("event_logs", "otto"),
    ],
)
def test_real_folders_are_recognised(real_data, name, layout):
    assert recognise(real_data / name) == layout


def test_a_set_whose_pictures_were_moved_is_still_recognised(make_set, tmp_path):
    folder = make_set("shopee")
    shutil.rmtree(folder / "train_images")
    assert recognise(folder) == "shopee"
    with pytest.raises(
        InputError,
        match=r"train.csv, row 1: picture .*a\.png does not exist \(and 2 more",
    ):
        convert_folder("shopee", folder, tmp_path / "out")
