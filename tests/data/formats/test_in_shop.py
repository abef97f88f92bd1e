"""In-Shop Clothes Retrieval's layout, on rows of our own."""

from __future__ import annotations

import pytest

from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.formats.in_shop import convert
from simprod_tf.errors import InputError

HEADER = "image_name item_id evaluation_status\n"
SKIRT = "img/WOMEN/Skirts/id_1/01_1_front.png"


@pytest.fixture
def folder(make_set):
    return make_set("in-shop")


def test_each_part_becomes_a_catalogue_with_items_as_groups(folder, tmp_path):
    convert(folder, tmp_path / "out")
    parts = {
        part: read_catalog(tmp_path / "out" / f"{part}.csv").catalog
        for part in ("train", "query", "gallery")
    }
    assert {part: list(found.groups) for part, found in parts.items()} == {
        "train": ["id_1"],
        "query": ["id_2"],
        "gallery": ["id_2", "id_3"],
    }
    assert list(parts["gallery"].ids) == [
        "img/WOMEN/Skirts/id_2/01_2_side",
        "img/MEN/Suiting/id_3/01_1_front",
    ]
    assert list(parts["gallery"].column("category")) == ["WOMEN/Skirts", "MEN/Suiting"]
    assert parts["train"].images[0] == str(folder / "Img" / SKIRT)


def test_a_part_without_pictures_is_not_written(folder, tmp_path):
    listing = folder / "Eval" / "list_eval_partition.txt"
    listing.write_text(f"1\n{HEADER}{SKIRT} id_1 train\n")
    assert [path.name for path in convert(folder, tmp_path).paths] == ["train.csv"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEADER}{SKIRT} id_1 train\n", "the first line must be the number of rows"),
        (f"1\n{SKIRT} id_1 train\n", "the header must read 'image_name item_id"),
        (f"2\n{HEADER}{SKIRT} id_1 train\n", "promises 2 rows, but 1 are there: the f"),
        (f"1\n{HEADER}{SKIRT} id_1\n", "row 1: expected 3 words .* got 2"),
        (f"1\n{HEADER}{SKIRT} id_1 val\n", "row 1: evaluation_status .* got 'val'"),
        (
            f"1\n{HEADER}img/x.png id_1 train\n",
            r"row 1: picture .*x.png does not exist",
        ),
        (f"2\n{HEADER}" + f"{SKIRT} id_1 train\n" * 2, "row 2: id .* already in row 1"),
        (f"0\n{HEADER}", "no row stands below the header"),
    ],
)
def test_what_is_wrong_is_named(folder, tmp_path, text, message):
    (folder / "Eval" / "list_eval_partition.txt").write_text(text)
    with pytest.raises(InputError, match=f"list_eval_partition.txt.*{message}"):
        convert(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_listing_with_a_header_that_is_not_utf8_is_refused(folder, tmp_path):
    listing = folder / "Eval" / "list_eval_partition.txt"
    listing.write_bytes(b"1\nimage_nam\xe9 item_id evaluation_status\n")
    with pytest.raises(InputError, match="partition.txt: not UTF-8 text"):
        convert(folder, tmp_path / "out")
