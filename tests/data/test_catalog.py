"""The catalogue: what it holds, and every way in which it refuses a row."""

from __future__ import annotations

import numpy as np
import pytest

from simprod_tf.data.catalog import Catalog, Product, read_catalog
from simprod_tf.errors import InputError


def write(folder, text):
    path = folder / "catalog.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_catalogue_is_read(tmp_path, picture):
    path = write(
        tmp_path,
        "id,title,image,group,brand\n"
        f"a,Red mug,{picture.name},g1,Acme\n"
        f"b,,{picture},g1,\n"
        "c,Blue mug,,,Bolt\n",
    )
    catalog = read_catalog(path).catalog
    assert len(catalog) == 3
    assert catalog["a"] == Product(
        "a", "Red mug", str(picture), "g1", {"brand": "Acme"}
    )
    assert catalog["b"].image == str(picture)
    assert catalog["c"] == Product("c", "Blue mug", attributes={"brand": "Bolt"})
    assert list(catalog.column("brand")) == ["Acme", "", "Bolt"]
    assert list(catalog.rows_of(["c", "a"])) == [2, 0]
    assert catalog.rows_or_none(["c", "z", "a"]).tolist() == [2, -1, 0]
    assert "b" in catalog
    assert "z" not in catalog
    assert repr(catalog) == (
        "Catalog(3 products, 2 with a picture, 2 with a title, 1 groups)"
    )


def test_taking_rows_keeps_attributes_in_step(tmp_path):
    path = write(tmp_path, "id,title,brand\na,x,A\nb,y,B\nc,z,C\n")
    taken = read_catalog(path).catalog.take(np.array([2, 0]))
    assert list(taken.ids) == ["c", "a"]
    assert list(taken.column("brand")) == ["C", "A"]
    assert taken["a"].title == "x"


def test_numeric_ids_of_jsonl_are_text(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text('{"id": 12, "title": "x"}\n{"id": "12b", "title": "y"}\n')
    assert list(read_catalog(path).catalog.ids) == ["12", "12b"]


@pytest.fixture
def bad_rows(tmp_path, make_picture):
    (tmp_path / "cut.jpg").write_bytes(b"")
    make_picture().save(tmp_path / "whole.jpg", quality=95)
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    make_picture().save(tmp_path / "new.webp")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    return write(
        tmp_path,
        "id,title,image\n"
        "ok,fine,whole.jpg\n"
        ",no id,\n"
        "ok,again,\n"
        "empty,,\n"
        "gone,x,gone.jpg\n"
        "cut,x,cut.jpg\n"
        "webp,x,new.webp\n"
        "text,x,text.png\n"
        "nothing,x,empty.png\n",
    )


def test_bad_rows_are_set_aside_with_their_reasons(bad_rows):
    found = read_catalog(bad_rows, skip_bad=True)
    assert list(found.catalog.ids) == ["ok", "webp"]
    reasons = {one.row: one.reason for one in found.bad}
    assert reasons[2] == "the id is empty"
    assert reasons[3] == "id 'ok' stands already in row 1"
    assert reasons[4] == "product 'empty' has neither title nor image"
    assert "gone.jpg does not exist" in reasons[5]
    assert "cut.jpg cannot be decoded" in reasons[6]
    assert "text.png cannot be decoded: it is none of JPEG, PNG" in reasons[8]
    assert "empty.png is empty (0 bytes)" in reasons[9]
    assert len(reasons) == 7


def test_without_skip_bad_the_first_bad_row_is_named(bad_rows):
    with pytest.raises(InputError, match="catalog.csv, row 2: the id is empty"):
        read_catalog(bad_rows)
    with pytest.raises(InputError, match=r"and 6 more bad rows\). .*--skip-bad"):
        read_catalog(bad_rows)


def test_a_catalogue_without_a_usable_product_is_refused(tmp_path):
    with pytest.raises(InputError, match="no usable product is in it"):
        read_catalog(write(tmp_path, "id,title\n"))
    with pytest.raises(InputError, match="no usable product is in it"):
        read_catalog(write(tmp_path, "id,title\n,x\n"), skip_bad=True)


def test_progress_counts_the_pictures(tmp_path, picture):
    path = write(tmp_path, f"id,title,image\na,x,{picture}\nb,y,\nc,z,{picture}\n")
    told = []
    read_catalog(path, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


def test_an_unknown_column_is_named_with_the_known_ones(tmp_path):
    catalog = read_catalog(write(tmp_path, "id,title,brand\na,x,A\n")).catalog
    with pytest.raises(KeyError, match="no column 'colour'.*group, brand"):
        catalog.column("colour")


def test_columns_of_different_length_are_refused(tmp_path):
    catalog = read_catalog(write(tmp_path, "id,title\na,x\nb,y\n")).catalog
    with pytest.raises(ValueError, match="differ in length"):
        Catalog(
            catalog.ids[:1],
            catalog.titles,
            catalog.images,
            catalog.groups,
            catalog.attributes,
        )
