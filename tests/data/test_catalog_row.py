"""Rows of a catalogue become products, or say why they cannot."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pytest

from simprod_tf.data.catalog import read_catalog
from simprod_tf.data.catalog_row import (
    CatalogColumns,
    catalog_rows,
    content_digest,
    row_picture,
)
from simprod_tf.data.catalog_shards import Block
from simprod_tf.data.tables import write_table
from simprod_tf.errors import InputError

TITLES = CatalogColumns()
MORE = CatalogColumns(categories=("brand",), numbers=("price",), vectors=(("clip", 2),))


def rows_of(columns=TITLES, *, source="/shop/a.csv", **values):
    table = pa.table(values)
    count = table.num_rows
    block = Block(table, list(range(1, count + 1)), [""] * count)
    return catalog_rows(block, columns, source=source)


def digest(columns=TITLES, **values):
    (row,) = rows_of(columns, **{name: [value] for name, value in values.items()})
    return content_digest(row, columns)


def test_products_are_those_of_the_whole_catalogue(tmp_path):
    values = {
        "id": [1, 2, 3],
        "title": [" mug ", None, "cup"],
        "image": ["a.jpg", "/b.jpg", None],
        "group": ["g", "g", "g"],
        "brand": ["Acme", " ", "Bolt"],
        "price": [1.5, None, 3.0],
    }
    file = tmp_path / "a.parquet"
    write_table(pa.table(values), file)
    catalog = read_catalog(file, check_pictures=False).catalog
    columns = CatalogColumns(categories=("brand",), numbers=("price",))
    rows = rows_of(columns, source=str(file), **values)
    assert [one.fault for one in rows] == ["", "", ""]
    for one, product in zip(rows, catalog):
        assert one.product.id == product.id
        assert one.product.title == product.title
        assert one.product.image == product.image
        assert one.product.attributes == product.attributes
    assert [one.written_image for one in rows] == ["a.jpg", "/b.jpg", ""]


def test_bad_rows_say_why():
    rows = rows_of(id=["", "b", "c"], title=["x", " ", "z"])
    assert [one.fault for one in rows] == [
        "the id is empty",
        "product 'b' has neither title nor image",
        "",
    ]
    rows = rows_of(
        MORE,
        id=list("abcde"),
        price=["1", "cheap", "", None, "inf"],
        clip=[[1.0, 0.0], None, [1.0], [float("nan"), 0.0], [0.0, 0.5]],
    )
    assert [one.fault for one in rows] == [
        "",
        "product 'b': price must be a number, got 'cheap'",
        "product 'c': the list of column 'clip' has length 1, expected 2",
        "the vector of 'd' holds NaN or infinity",
        "",
    ]
    assert rows[4].vectors["clip"].tolist() == [0.0, 0.5]


def test_a_missing_vector_is_zeros():
    (row,) = rows_of(MORE, id=["a"], clip=pa.array([None], pa.list_(pa.float32())))
    assert row.fault == ""
    assert row.vectors["clip"].dtype == np.float32
    assert row.vectors["clip"].tolist() == [0, 0]


def test_the_reason_of_the_file_comes_first():
    block = Block(pa.table({"id": [None]}), [7], ["not JSON"])
    (row,) = catalog_rows(block, TITLES, source="a.csv")
    assert (row.row, row.fault) == (7, "not JSON")


def test_columns_of_the_wrong_kind_are_refused():
    with pytest.raises(InputError, match="column 'image' must hold paths or the pict"):
        rows_of(id=["a"], image=[["x"]])
    with pytest.raises(InputError, match="column 'clip' must hold lists of floats"):
        rows_of(MORE, id=["a"], clip=["x"])
    with pytest.raises(InputError, match="column 'clip' is missing"):
        rows_of(MORE, id=["a"])


def test_pictures_come_from_a_path_or_from_the_column(tmp_path, picture):
    content = picture.read_bytes()
    source = str(tmp_path / "a.csv")
    named, none, gone = rows_of(
        source=source,
        id=["a", "b", "c"],
        title=["x", "y", "z"],
        image=[picture.name, None, "gone.jpg"],
    )
    assert row_picture(named) == content
    assert row_picture(none) == b""
    message = r"gone\.jpg: the picture cannot be read: No such file"
    with pytest.raises(InputError, match=message):
        row_picture(gone)
    held, empty, nothing = rows_of(
        id=["a", "b", "c"], title=["", "y", "z"], image=[content, b"", None]
    )
    # Its picture is content enough.
    assert held.fault == ""
    assert row_picture(held) == content
    with pytest.raises(InputError, match="product 'b': the picture is empty"):
        row_picture(empty)
    assert row_picture(nothing) == b""


def test_a_path_that_no_disk_takes_is_the_rows_fault():
    (row,) = rows_of(id=["a"], image=["a\0b"])
    with pytest.raises(InputError, match="NUL in its path"):
        row_picture(row)
    assert len(content_digest(row, TITLES)) == 32


def test_a_disk_that_fails_is_not_the_pictures_fault(monkeypatch):
    (row,) = rows_of(id=["a"], image=["a.jpg"])

    def stale(*_, **__):
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr("builtins.open", stale)
    with pytest.raises(OSError, match="Stale file handle"):
        row_picture(row)


def test_the_digest_is_of_what_the_encoder_takes():
    assert len(digest(id="a", title="mug")) == 32
    assert digest(id="a", title="mug") == digest(id="b", title=" mug ", brand="Acme")
    assert digest(id="a", title="mug") != digest(id="a", title="cup")
    assert digest(id="a", image=b"1") != digest(id="a", image=b"2")
    more = {"id": "a", "brand": "x", "price": "1", "clip": [1.0, 0.0]}
    found = {digest(MORE, **more)}
    for name, value in {"brand": "y", "price": "2", "clip": [0.0, 1.0]}.items():
        found.add(digest(MORE, **{**more, name: value}))
    # What moves from one column to the next is not the same, either.
    found.add(digest(MORE, **{**more, "brand": "x1", "price": ""}))
    assert len(found) == 5
    blind = CatalogColumns(title=False, image=False)
    assert digest(blind, id="a", title="x") == digest(blind, id="a", image=b"1")


def test_a_pictures_file_counts_by_path_size_and_time(tmp_path, picture):
    def of(name):
        rows = rows_of(source=str(tmp_path / "a.csv"), id=["a"], image=[name])
        return content_digest(rows[0], TITLES)

    before = of(picture.name)
    assert before == of(picture.name)
    assert before != of("gone.jpg")
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(picture.read_bytes())
    status = picture.stat()
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert of("copy.jpg") != before
    os.utime(picture, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert of(picture.name) != before
